"""The compiled core of agglomeration: a heap of edges, half-edge lists and a hash from pairs to edges."""

import numpy as np
from numba import njit

GONE = -2
EMPTY = -1


@njit(cache=True, nogil=True)
def merge_greedily(edges, count, total, histogram, percent, nodes, threshold):  # type: ignore[no-untyped-def]
    """Merge the two ends of the strongest edge until none is above `threshold`.

    Parameters
    ----------
    edges
        (E, 2) int64 nodes; overwritten.
    count, total
        (E,) int64 sums; overwritten. Affinity = total / count, or a percentile of the histogram.
    histogram
        (E, 256) uint32, or (0, 0) for the mean; overwritten.
    percent
        Which percentile, where there are histograms.
    nodes
        Number of nodes.
    threshold
        In units of the affinities (0..255).

    Returns
    -------
    pairs, affinity
        The merges in order; equal affinities go by edge index.
    """
    n = len(edges)
    first = np.full(nodes, EMPTY, np.int64)  # first half-edge of each node
    last = np.full(nodes, EMPTY, np.int64)
    following = np.full(2 * n, EMPTY, np.int64)
    degree = np.zeros(nodes, np.int64)
    table = np.full(_table_size(n), EMPTY, np.int64)
    heap_key, heap_edge = np.empty(max(16, 2 * n)), np.empty(max(16, 2 * n), np.int64)
    size = 0
    for edge in range(n):
        for side in range(2):
            _append(first, last, following, degree, edges[edge, side], 2 * edge + side)
        _put(table, edges, edge)
        affinity = _affinity(count, total, histogram, percent, edge)
        if affinity > threshold:
            heap_key, heap_edge, size = _push(heap_key, heap_edge, size, affinity, edge)
    pairs, strengths, merges = np.empty((nodes, 2), np.int64), np.empty(nodes), 0
    while size:
        key, edge, size = _pop(heap_key, heap_edge, size)
        if edges[edge, 0] == GONE or key != _affinity(count, total, histogram, percent, edge):
            continue  # merged away, or re-entered with a newer affinity
        keep, lose = edges[edge, 0], edges[edge, 1]
        if degree[lose] > degree[keep] or (degree[lose] == degree[keep] and lose < keep):
            keep, lose = lose, keep
        pairs[merges, 0], pairs[merges, 1], strengths[merges] = keep, lose, key
        merges += 1
        _take(table, edges, edge)
        edges[edge, 0] = GONE
        graph = (edges, count, total, histogram, percent, table, first, last, following, degree)
        heap_key, heap_edge, size = _rewire(graph, keep, lose, threshold, heap_key, heap_edge, size)
    return pairs[:merges].copy(), strengths[:merges].copy()


@njit(cache=True, nogil=True)
def _rewire(graph, keep, lose, threshold, heap_key, heap_edge, size):  # type: ignore[no-untyped-def]
    """Give the edges of `lose` to `keep`; those that `keep` had already add up."""
    edges, count, total, histogram, percent, table, first, last, following, degree = graph
    half = first[lose]
    while half != EMPTY:
        after, moved, side = following[half], half // 2, half % 2
        if edges[moved, 0] != GONE:
            _take(table, edges, moved)
            edges[moved, side] = keep
            other = _get(table, edges, moved)
            if other == EMPTY:
                _put(table, edges, moved)
                _append(first, last, following, degree, keep, half)
            else:
                _add(count, total, histogram, other, moved)
                edges[moved, 0] = GONE
                affinity = _affinity(count, total, histogram, percent, other)
                if affinity > threshold:
                    heap_key, heap_edge, size = _push(heap_key, heap_edge, size, affinity, other)
        half = after
    return heap_key, heap_edge, size


@njit(cache=True, nogil=True)
def _affinity(count, total, histogram, percent, edge):  # type: ignore[no-untyped-def]
    if histogram.shape[0] == 0:
        return total[edge] / count[edge]
    rank, seen = (count[edge] * percent + 99) // 100, 0
    for value in range(histogram.shape[1]):
        seen += histogram[edge, value]
        if seen >= rank:
            return float(value)
    return 0.0


@njit(cache=True, nogil=True)
def _add(count, total, histogram, edge, other):  # type: ignore[no-untyped-def]
    count[edge] += count[other]
    total[edge] += total[other]
    if histogram.shape[0]:
        histogram[edge] += histogram[other]


@njit(cache=True, nogil=True)
def _append(first, last, following, degree, node, half):  # type: ignore[no-untyped-def]
    following[half] = EMPTY
    if first[node] == EMPTY:
        first[node] = half
    else:
        following[last[node]] = half
    last[node] = half
    degree[node] += 1


@njit(cache=True, nogil=True)
def _before(key_a, edge_a, key_b, edge_b):  # type: ignore[no-untyped-def]
    return key_a > key_b or (key_a == key_b and edge_a < edge_b)


@njit(cache=True, nogil=True)
def _push(keys, heap, size, key, edge):  # type: ignore[no-untyped-def]
    if size == len(keys):
        keys = np.concatenate((keys, np.empty_like(keys)))
        heap = np.concatenate((heap, np.empty_like(heap)))
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not _before(key, edge, keys[parent], heap[parent]):
            break
        keys[place], heap[place] = keys[parent], heap[parent]
        place = parent
    keys[place], heap[place] = key, edge
    return keys, heap, size + 1


@njit(cache=True, nogil=True)
def _pop(keys, heap, size):  # type: ignore[no-untyped-def]
    top_key, top_edge = keys[0], heap[0]
    size -= 1
    key, edge = keys[size], heap[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(keys[child + 1], heap[child + 1], keys[child], heap[child]):
            child += 1
        if not _before(keys[child], heap[child], key, edge):
            break
        keys[place], heap[place] = keys[child], heap[child]
        place = child
    keys[place], heap[place] = key, edge
    return top_key, top_edge, size


@njit(cache=True, nogil=True)
def _table_size(edges):  # type: ignore[no-untyped-def]
    size = 16
    while size < 4 * edges:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _slot(edges, edge, size):  # type: ignore[no-untyped-def]
    a, b = edges[edge, 0], edges[edge, 1]
    low, high = np.uint64(min(a, b)), np.uint64(max(a, b))
    mixed = low * np.uint64(0x9E3779B97F4A7C15) ^ (high * np.uint64(0xC2B2AE3D27D4EB4F))
    return np.int64((mixed >> np.uint64(20)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def _same(edges, a, b):  # type: ignore[no-untyped-def]
    straight = edges[a, 0] == edges[b, 0] and edges[a, 1] == edges[b, 1]
    return straight or (edges[a, 0] == edges[b, 1] and edges[a, 1] == edges[b, 0])


@njit(cache=True, nogil=True)
def _get(table, edges, edge):  # type: ignore[no-untyped-def]
    """The edge in the table that joins the same nodes, or EMPTY."""
    slot = _slot(edges, edge, len(table))
    while table[slot] != EMPTY:
        if table[slot] != GONE and _same(edges, table[slot], edge):
            return table[slot]
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(EMPTY)


@njit(cache=True, nogil=True)
def _put(table, edges, edge):  # type: ignore[no-untyped-def]
    slot = _slot(edges, edge, len(table))
    while table[slot] >= 0:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = edge


@njit(cache=True, nogil=True)
def _take(table, edges, edge):  # type: ignore[no-untyped-def]
    slot = _slot(edges, edge, len(table))
    while table[slot] != edge:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = GONE
