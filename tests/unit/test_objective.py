"""The objective: by hand, in one pass or in several, and what each of its switches does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tccam import consistency, puzzle, temporal
from tccam.data import BeltConfig, FlowStore, SyntheticBelt
from tccam.errors import TccamError
from tccam.network import CamNet, CamOutput
from tccam.training import Batch, Sampler, TrainConfig, classification_loss, objective, ramp

DATA = BeltConfig(
    height=48,
    width=64,
    frames=24,
    train=2,
    validation=1,
    test=1,
    speed=5.0,
    lead_in=10,
    motion="jitter",
)
CONFIG = TrainConfig(data=DATA, method="both", batch=18, window=8, steps=10, threads=1)
BELT = SyntheticBelt(DATA)
METHODS = ("plain", "puzzle", "temporal", "both")
TERMS = {
    "plain": {"classification"},
    "puzzle": {"classification", "tiles", "spatial"},
    "temporal": {"classification", "temporal"},
    "both": {"classification", "tiles", "spatial", "temporal"},
}


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> FlowStore:
    return FlowStore(tmp_path_factory.mktemp("flows"))


def make_network(config: TrainConfig = CONFIG) -> CamNet:
    """An untrained network whose batch normalisation has seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = CamNet("small", config.num_classes)
        with torch.no_grad():
            network.classifier.weight.mul_(3)
            for _ in range(5):
                network.train()(torch.rand(6, 3, 48, 64))
    return network


def make_batch(config: TrainConfig, flows: FlowStore, step: int = 0) -> Batch:
    return Sampler(BELT.train, config, 4, flows=flows).batch(step)


def triplets(batch: Batch) -> Batch:
    """Every three frames in a row as a window of their own."""
    assert batch.flows is not None
    assert batch.visible is not None
    inner = range(batch.images.shape[1] - 2)

    def cut(tensor: Tensor) -> Tensor:
        return torch.cat([tensor[:, k : k + 3] for k in inner])

    return Batch(cut(batch.images), cut(batch.labels), cut(batch.flows), cut(batch.visible))


@contextmanager
def passes(network: nn.Module) -> Iterator[list[Tensor]]:
    """The pictures of every forward pass."""
    seen: list[Tensor] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parts = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


def statistics(network: nn.Module) -> Tensor:
    return torch.cat([b.flatten() for n, b in network.named_buffers() if "running" in n])


# the parts of the objective -------------------------------------------------------------------


def test_classification_loss_by_hand() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0]])
    terms = F.softplus(torch.tensor([-2.0, -1.0, 0.0]))  # −log σ(z) for y = 1, −log σ(−z) for 0
    expected = pytest.approx(terms.mean().item())
    assert classification_loss(logits, torch.tensor([0])).item() == expected
    assert classification_loss(logits, torch.tensor([[1, 0, 0]])).item() == expected
    assert classification_loss(logits.bfloat16(), torch.tensor([0])).dtype == torch.float32
    with pytest.raises(TccamError, match="classes 0 … 2"):
        classification_loss(logits, torch.tensor([3]))


def test_ramp_rises_to_one_over_its_share_of_the_steps() -> None:
    config = replace(CONFIG, steps=40, ramp=0.25)
    assert [ramp(step, config) for step in (0, 1, 5, 9, 10, 39)] == [0, 0.1, 0.5, 0.9, 1, 1]
    assert [ramp(step, replace(config, ramp=0.0)) for step in (0, 39)] == [1, 1]
    assert ramp(20, replace(config, ramp=1.0)) == 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_weighted_sum_of_its_terms(
    method: str, weight: float, flows: FlowStore
) -> None:
    config = replace(CONFIG, method=method, alpha=1.5, beta=4.0)
    found = objective(make_network().eval(), make_batch(config, flows), config, weight)
    assert set(found) == {"loss", *TERMS[method]}
    factor = {"classification": 1.0, "tiles": 1.0, "spatial": 1.5 * weight, "temporal": 4 * weight}
    expected = sum(factor[name] * found[name] for name in TERMS[method])
    torch.testing.assert_close(found["loss"], expected)
    assert all(term.ndim == 0 and term > 0 for term in found.values())


def test_equivariance_adds_a_quarter_of_a_picture_and_its_term(flows: FlowStore) -> None:
    config = replace(CONFIG, method="plain", gamma=3.0)
    network, batch = make_network().eval(), make_batch(config, flows)
    with passes(network) as seen:
        terms = objective(network, batch, config, 0.5)
    assert set(terms) == {"loss", "classification", "equivariance"}
    assert terms["loss"] == terms["classification"] + 1.5 * terms["equivariance"]
    assert [tuple(pictures.shape[2:]) for pictures in seen] == [(48, 64), (24, 32)]
    maps = [network(pictures).maps for pictures in seen]
    expected = consistency.equivariance_loss(*maps, batch.labels[:, 0])
    torch.testing.assert_close(terms["equivariance"], expected)
    # Half the size, not half the picture: the means of 2×2 pixels, but for the filter's tails.
    assert (seen[1] - F.avg_pool2d(seen[0], 2)).abs().mean() < 0.2 * seen[0].std()


def test_small_pictures_leave_the_running_statistics_alone(flows: FlowStore) -> None:
    config = replace(CONFIG, method="plain")
    networks, batch = [make_network().train() for _ in range(2)], make_batch(config, flows)
    terms = [
        objective(network, batch, replace(config, gamma=gamma))
        for network, gamma in zip(networks, (0.0, 3.0), strict=True)
    ]
    assert torch.equal(statistics(networks[0]), statistics(networks[1]))
    assert not torch.equal(statistics(networks[0]), statistics(make_network()))
    assert all(m.momentum == 0.1 for m in networks[1].modules() if isinstance(m, nn.BatchNorm2d))
    assert terms[0]["loss"] == terms[1]["classification"] < terms[1]["loss"]


def test_equivariance_takes_pictures_of_odd_size() -> None:
    config = TrainConfig(gamma=1.0, batch=3)
    images = torch.rand(3, 1, 3, 49, 65)
    terms = objective(make_network().eval(), Batch(images, torch.arange(3)[:, None]), config)
    assert terms["equivariance"].isfinite()


def test_terms_equal_their_plain_formulation(flows: FlowStore) -> None:
    config = replace(CONFIG, window=3, validity="visible", centre_in=True, fusion="mean")
    network, batch = make_network().eval(), make_batch(config, flows)
    assert batch.flows is not None
    assert batch.visible is not None
    found = objective(network, batch, config)
    before, centre, after = (network(batch.images[:, t]) for t in range(3))
    labels = batch.labels[:, 1]
    tiles = network(puzzle.tile(batch.images[:, 1])).maps
    merged = puzzle.merge(tiles)
    expected = {
        "classification": classification_loss(centre.logits, labels),
        "tiles": classification_loss(merged.mean((2, 3)), labels),
        "spatial": puzzle.spatial_loss(centre.maps, merged, labels),
        "temporal": temporal.temporal_loss(
            centre.maps,
            [before.maps, after.maps],
            [batch.flows[:, 1, 0], batch.flows[:, 1, 1]],
            labels,
            visible=[batch.visible[:, 1, 0, None], batch.visible[:, 1, 1, None]],
            fusion="mean",
            centre_in=True,
        ),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


# windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"validity": "visible", "fusion": "mean"},
        {"half_cell_shift": True, "validity": "none", "level": "normalized"},
        {"normalized": "each", "centre_in": True},
    ],
)
def test_in_eval_mode_a_window_of_eight_is_its_six_triplets(
    changes: dict[str, object], flows: FlowStore
) -> None:
    config = replace(CONFIG, **changes)
    network, batch = make_network().eval(), make_batch(config, flows)
    assert batch.images.shape[:2] == (3, 8)
    window = objective(network, batch, config)
    alone = objective(network, triplets(batch), replace(config, window=3))
    for name in window:
        torch.testing.assert_close(window[name], alone[name], atol=1e-6, rtol=0)
    torch.testing.assert_close(
        gradient(window["loss"], network), gradient(alone["loss"], network), atol=1e-5, rtol=1e-4
    )


def test_in_train_mode_they_differ_for_batch_norm_sees_each_frame_once_not_thrice(
    flows: FlowStore,
) -> None:
    batch = make_batch(CONFIG, flows)
    window = objective(make_network().train(), batch, CONFIG)
    network = make_network().train()
    with passes(network) as seen:
        alone = objective(network, triplets(batch), replace(CONFIG, window=3))
    assert not torch.allclose(window["classification"], alone["classification"], rtol=1e-4)
    # Nothing but the weights of the frames in the statistics is different: inner frames are in
    # three triplets, the second and the last but one in two, the outermost in one.
    kept = {picture.numpy().tobytes() for picture in seen[0]}
    assert len(seen[0]) == 3 * 18
    assert len(kept) == 3 * 8


def test_a_window_of_eight_costs_14_pictures_instead_of_24(flows: FlowStore) -> None:
    network, batch = make_network().eval(), make_batch(CONFIG, flows)
    cost = {}
    for name, part in (("window", batch), ("triplets", triplets(batch))):
        with passes(network) as seen:
            objective(network, part, replace(CONFIG, window=part.images.shape[1]))
        cost[name] = sum(x.numel() for x in seen) / (3 * 48 * 64) / 3  # a window
    assert cost == {"window": 14.0, "triplets": 24.0}


@pytest.mark.parametrize(("method", "cost"), [("plain", 1), ("puzzle", 2), ("temporal", 3)])
def test_other_methods_pass_what_they_need(method: str, cost: int, flows: FlowStore) -> None:
    config = replace(CONFIG, method=method, window=3)
    network = make_network().eval()
    with passes(network) as seen:
        objective(network, make_batch(config, flows), config)
    assert sum(x.numel() for x in seen) == cost * 18 * 3 * 48 * 64


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("window", "parts"), [(3, 3), (5, 2)])
def test_in_eval_mode_the_parts_of_a_batch_make_its_gradient(
    method: str, window: int, parts: int, flows: FlowStore
) -> None:
    config = replace(CONFIG, method=method, window=window, batch=18)
    sampler = Sampler(BELT.train, config, 4, flows=flows)
    network = make_network().eval()
    whole = gradient(objective(network, sampler.batch(3), config)["loss"], network)
    shares = [
        gradient(objective(network, sampler.batch(3, part, parts), config)["loss"], network)
        for part in range(parts)
    ]
    torch.testing.assert_close(sum(shares) / parts, whole, atol=1e-5, rtol=1e-4)


# controls and switches --------------------------------------------------------------------------


def test_beta_0_asks_nothing_but_lets_neighbours_into_batch_norm(flows: FlowStore) -> None:
    config = replace(CONFIG, method="temporal", window=3, beta=0.0)
    batch, network = make_batch(config, flows), make_network().train()
    found = objective(network, batch, config)
    torch.testing.assert_close(
        gradient(found["loss"], network), gradient(found["classification"], network)
    )
    assert found["temporal"] > 0
    plain = make_network().train()
    centres = Batch(batch.images[:, 1:2], batch.labels[:, 1:2])
    alone = objective(plain, centres, replace(config, method="plain"))
    assert not torch.allclose(alone["classification"], found["classification"], rtol=1e-4)
    assert not torch.allclose(statistics(plain), statistics(network), rtol=1e-4)
    # Where batch norm looks at no batch, nothing is left of the neighbours.
    still = make_network().eval()
    with_them = objective(still, batch, config)["loss"]
    without = objective(still, centres, replace(config, method="plain"))["loss"]
    torch.testing.assert_close(with_them, without)
    torch.testing.assert_close(gradient(with_them, still), gradient(without, still))


def test_with_separate_passes_batch_norm_sees_the_centres_alone(flows: FlowStore) -> None:
    config = replace(CONFIG, method="temporal", window=3, separate_passes=True)
    batch, network, plain = make_batch(config, flows), make_network(), make_network()
    with passes(network.train()) as seen:
        found = objective(network, batch, config)
    assert [len(pictures) for pictures in seen] == [18, 18, 18]
    centres = Batch(batch.images[:, 1:2], batch.labels[:, 1:2])
    alone = objective(plain.train(), centres, replace(config, method="plain"))
    torch.testing.assert_close(found["classification"], alone["classification"])
    together = objective(make_network().train(), batch, replace(config, separate_passes=False))
    assert not torch.allclose(together["classification"], found["classification"], rtol=1e-4)
    one, several = (
        objective(make_network().eval(), batch, replace(config, separate_passes=s))["loss"]
        for s in (False, True)
    )
    torch.testing.assert_close(one, several)  # in eval mode passes are all the same


class Fixed(nn.Module):
    """A "network" that gives every picture the same maps: identical frames."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = nn.Parameter(maps)

    def forward(self, images: Tensor) -> CamOutput:
        maps = self.maps.expand(len(images), -1, -1, -1)
        return CamOutput(maps.mean((2, 3)), maps)


def still_batch(flow: tuple[float, float] = (0.0, 0.0)) -> Batch:
    """One triplet of 64×64 pixels, 16×16 cells, the flow to the next frame as given."""
    flows = torch.zeros(1, 3, 2, 2, 16, 16)
    flows[:, :, 1] = torch.tensor(flow)[:, None, None]
    flows[:, :, 0] = -flows[:, :, 1]
    visible = torch.ones(1, 3, 2, 16, 16, dtype=torch.bool)
    return Batch(torch.zeros(1, 3, 3, 64, 64), torch.zeros(1, 3, dtype=torch.long), flows, visible)


def test_half_cell_shift_sees_motion_in_identical_frames() -> None:
    maps = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    config = replace(CONFIG, method="temporal", window=3, batch=3)
    network, batch = Fixed(maps), still_batch()
    assert objective(network, batch, config)["temporal"] < 1e-5
    shifted = replace(config, half_cell_shift=True)
    assert objective(network, batch, shifted)["temporal"] > 0.01


def test_validity_none_compares_what_no_neighbour_sees_with_zero() -> None:
    ramped = torch.linspace(1, 2, 16).expand(1, 3, 16, 16)
    config = replace(CONFIG, method="temporal", window=3, batch=3)
    batch, network = still_batch(flow=(0.0, 20.0)), Fixed(ramped)  # all of it leaves the picture
    terms = {
        validity: objective(network, batch, replace(config, validity=validity))["temporal"].item()
        for validity in ("none", "inside", "visible")
    }
    assert terms["inside"] == terms["visible"] == 0
    assert terms["none"] == pytest.approx(float(ramped[0, 0].mean()) / 2 / 3, rel=1e-3)
    # A point that is inside but hidden in both neighbours counts for "inside" alone.
    hidden = still_batch()
    assert hidden.visible is not None
    hidden = replace(hidden, visible=torch.zeros_like(hidden.visible))
    moved = replace(hidden, flows=still_batch(flow=(3.0, 0.0)).flows)
    one, other = (
        objective(network, moved, replace(config, validity=v))["temporal"].item()
        for v in ("inside", "visible")
    )
    assert one > 0.001
    assert other == 0


def test_detach_keeps_the_gradient_out_of_the_neighbours(flows: FlowStore) -> None:
    config = replace(CONFIG, method="temporal", window=3, normalized="each")
    batch = make_batch(config, flows)
    for detach in (False, True):
        images = batch.images.clone().requires_grad_()
        found = objective(
            make_network().eval(), replace(batch, images=images), replace(config, detach=detach)
        )
        (grad,) = torch.autograd.grad(found["temporal"], images)
        assert grad[:, 1].abs().sum() > 0
        assert bool(grad[:, [0, 2]].abs().sum() == 0) is detach


def test_present_divides_by_what_is_compared() -> None:
    ramped = torch.linspace(1, 2, 16).expand(1, 3, 16, 16)
    config = replace(CONFIG, method="temporal", window=3, batch=3, validity="none")
    batch, network = still_batch(flow=(0.0, 20.0)), Fixed(ramped)
    mean, present = (
        objective(network, batch, replace(config, reduction=r))["temporal"]
        for r in ("mean", "present")
    )
    torch.testing.assert_close(present, 3 * mean)  # one class of three


def test_a_batch_moves_to_a_device_whole(flows: FlowStore) -> None:
    batch = make_batch(CONFIG, flows).to(torch.device("meta"))
    assert batch.flows is not None
    assert batch.visible is not None
    for tensor in (batch.images, batch.labels, batch.flows, batch.visible):
        assert tensor.device.type == "meta"
    plain = Batch(torch.zeros(1, 1, 3, 8, 8), torch.zeros(1, 1)).to(torch.device("meta"))
    assert plain.flows is None
