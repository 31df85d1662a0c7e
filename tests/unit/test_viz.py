"""Pictures are drawn on copies."""

import torch

from tccam.viz import outline


def test_an_outline_leaves_its_picture_alone_in_any_layout() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 2:5] = True
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    for layout in (torch.contiguous_format, torch.channels_last):
        frame = image.to(memory_format=layout)[0].clone(memory_format=torch.preserve_format)
        drawn = outline(frame, mask)
        assert not frame.any()
        assert drawn.any(0).sum() == 5 * 5 - 3 * 3  # a ring, one pixel wide
