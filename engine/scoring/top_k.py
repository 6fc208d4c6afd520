"""The k largest logits of every row, updated tile by tile at little more than the cost of a maximum."""

import torch
from torch import Tensor

STRIPES = 32


class TopK:
    """The k largest of each row over the tiles seen so far, largest first: `values` and `ids`, both (rows, k).

    A tile's columns are divided into groups of 32 (one from each of 32 equal stripes, so that the maxima of all groups
    are one vectorised reduction). The k largest entries of a row lie in the k groups with the largest maxima, so only
    those are searched, and only in rows whose maximum in the tile exceeds the k-th entry so far.
    A row with NaN keeps the entries it had.
    """

    def __init__(self, rows: int, k: int, device: torch.device) -> None:
        self.k = k
        self.values = torch.full((rows, k), -torch.inf, device=device)
        self.ids = torch.zeros((rows, k), dtype=torch.long, device=device)

    def update(self, tile: Tensor, first_id: int) -> Tensor:
        """Add a contiguous tile (rows, columns) whose first column is token `first_id`; returns its row maxima."""
        rows, columns = tile.shape
        stripes = STRIPES if columns % STRIPES == 0 else 1
        groups = tile.view(rows, stripes, columns // stripes).amax(1)
        maxima = groups.amax(1)
        better = (maxima > self.values[:, -1]).nonzero()[:, 0]
        if len(better) == 0:
            return maxima
        group = groups[better].topk(min(self.k, groups.shape[1]), sorted=False).indices
        stripe = torch.arange(stripes, device=tile.device) * groups.shape[1]
        column = (group[:, :, None] + stripe).flatten(1)
        entries = tile.view(-1).take(better[:, None] * columns + column)
        values = torch.cat((self.values[better], entries), 1)
        ids = torch.cat((self.ids[better], column + first_id), 1)
        self.values[better], place = values.topk(self.k)
        self.ids[better] = ids.gather(1, place)
        return maxima
