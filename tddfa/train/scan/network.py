"""The network of stage 1: graph convolutions on the neighbours of each point, and on the super nodes of the scan."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tddfa.scan.graph import FEATURES

LANDMARKS = 68

NEAR, GATE = 0.12, 0.38
"""Standard deviation of the proximity to a mean landmark, and distance from it at which heat is damped to 1/e."""

# Values of neighbours are kept within this: their exponentials stay finite, and over 0.
LIMIT = 30.0


class GraphBatch(NamedTuple):
    """Graphs of b scans (`tddfa.scan.graph.Graph`), one after the other: n points in all.

    Attributes
    ----------
    features : Tensor (n, 13)
    neighbours : Tensor (n, k) int64
        Rows of `features`.
    neighbour_of : Tensor (n * k,) int64
        The points that have point 0 as a neighbour, those that have point 1, and so on.
    first : Tensor (n,) int64
        Where the list of each point begins in `neighbour_of`.
    supers : Tensor (b, 68) int64
        Rows of `features`.
    cells : Tensor (n,) int64
        The super node whose cell a point is in: rows of the flattened `supers`.
    """

    features: Tensor
    neighbours: Tensor
    neighbour_of: Tensor
    first: Tensor
    supers: Tensor
    cells: Tensor

    @classmethod
    def of(cls, features: Tensor, neighbours: Tensor, supers: Tensor, cells: Tensor) -> GraphBatch:
        """Put scans (b, n, ...) with n points each, whose indices begin at 0, one after the other."""
        scans, points, _ = features.shape
        start = torch.arange(scans)[:, None]
        near = (neighbours + points * start[..., None]).flatten(0, 1)
        flat = near.flatten()
        order = torch.argsort(flat)
        first = torch.searchsorted(flat[order], torch.arange(len(near)))
        return cls(
            features.flatten(0, 1),
            near,
            torch.div(order, near.shape[1], rounding_mode="floor"),
            first,
            supers + points * start,
            (cells + supers.shape[1] * start).flatten(),
        )


class _NeighbourMean(torch.autograd.Function):
    """Mean of the values (n, c) over the neighbours of each point.

    PyTorch's own gather would keep (n, k, c) numbers for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, graph: GraphBatch) -> Tensor:
        ctx.graph = graph
        return functional.embedding_bag(graph.neighbours, values, mode="mean")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        graph = ctx.graph
        summed = functional.embedding_bag(graph.neighbour_of, gradient.contiguous(), graph.first, mode="sum")
        return summed / graph.neighbours.shape[1], None


def soft_maximum(values: Tensor, graph: GraphBatch) -> Tensor:
    """Smooth maximum (n, c) over the neighbours: the logarithm of the mean exponential.

    Like a maximum, it follows a shift of all values; its gradient costs as little as that of a mean.
    """
    exponential = values.clamp(-LIMIT, LIMIT).exp()
    return _NeighbourMean.apply(exponential, graph).log()  # type: ignore[no-untyped-call]


class StratifiedLayer(nn.Module):
    """One layer: a local convolution and one over the super nodes, norm, ReLU, sum with the input, and a mix of both.

    A local convolution takes the smooth maximum of ``W [x_j, p_j - p_i]`` over the neighbours j of point i, which is an
    edge convolution (Wang et al., 2019) at the cost of a matrix product a point. The super nodes form a complete graph:
    each takes the mean of a small network of all pairs. The points of its cell get the result.

    Parameters
    ----------
    width : int
        Features of a point.
    edge_width : int
        Features of a pair of super nodes.
    """

    def __init__(self, width: int, edge_width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.near = nn.Linear(width, width, bias=False)
        self.place = nn.Linear(3, width, bias=False)
        self.sender = nn.Linear(width + 3, edge_width)
        self.receiver = nn.Linear(width + 3, edge_width, bias=False)
        self.message = nn.Linear(edge_width, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, graph: GraphBatch) -> Tensor:
        """Compute features (n, width) of the points from theirs so far (n, width)."""
        places = graph.features[:, :3]
        moved = self.place(places)
        local = self.own(x) - moved + soft_maximum(self.near(x) + moved, graph)
        nodes = torch.cat([x, places], dim=1)[graph.supers]
        pairs = torch.relu(self.sender(nodes)[:, None] + self.receiver(nodes)[:, :, None])
        wide = self.message(pairs.mean(dim=2)).flatten(0, 1)[graph.cells]
        local = torch.relu(self.norm(local)) + x
        wide = torch.relu(self.norm(wide)) + x
        return self.mix(torch.cat([local, wide], dim=1))


class ScanNetwork(nn.Module):
    """Heat of 68 landmarks at each point of a scan.

    The network knows where the mean landmarks are: a point's proximity to each of them is part of its input, and a
    landmark has heat only near its mean.

    Parameters
    ----------
    anchors : Tensor (68, 3), optional
        Mean landmarks, in units of the network; zeros are replaced when a state is loaded.
    width : int
        Features of a point.
    layers : int
    edge_width : int
        Features of a pair of super nodes.
    """

    anchors: Tensor

    def __init__(self, width: int = 64, layers: int = 4, edge_width: int = 32, anchors: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.zeros(LANDMARKS, 3) if anchors is None else anchors.float())
        self.arguments = {"width": width, "layers": layers, "edge_width": edge_width}
        self.enter = nn.Linear(FEATURES + LANDMARKS, width)
        self.layers = nn.ModuleList(StratifiedLayer(width, edge_width) for _ in range(layers))
        self.leave = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, LANDMARKS))

    def forward(self, graph: GraphBatch) -> Tensor:
        """Compute the heat (n, 68)."""
        squared = self.squared_distances(graph.features[:, :3])
        x = torch.relu(self.enter(torch.cat([graph.features, torch.exp(squared / (-2 * NEAR**2))], dim=1)))
        for layer in self.layers:
            x = layer(x, graph)
        return self.leave(x) * gate(squared)

    @property
    def stratified(self) -> list[StratifiedLayer]:
        """The layers."""
        return [layer for layer in self.layers if isinstance(layer, StratifiedLayer)]

    @property
    def last(self) -> list[nn.Linear]:
        """The two linear maps from the features to the heat; a ReLU is between them."""
        return [layer for layer in self.leave if isinstance(layer, nn.Linear)]

    def squared_distances(self, places: Tensor) -> Tensor:
        """Squared distance (n, 68) of points (n, 3) from the mean landmarks."""
        own, other = places.square().sum(dim=1, keepdim=True), self.anchors.square().sum(dim=1)
        return (own + other - 2 * places @ self.anchors.T).clamp_min(0)


def gate(squared: Tensor) -> Tensor:
    """Factor of the heat by squared distance from the mean landmark: 1 near to it, 0 far away."""
    return torch.exp(-((squared / GATE**2) ** 2))
