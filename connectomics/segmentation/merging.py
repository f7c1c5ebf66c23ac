"""The compiled core of agglomeration: a heap of edges, half-edge lists and a hash from pairs to edges."""

import numpy as np
from numba import njit

GONE = -2
EMPTY = -1


@njit(cache=True, nogil=True)
def merge_greedily(edges, count, total, bins, percent, nodes, threshold):  # type: ignore[no-untyped-def]
    """Merge the two ends of the strongest edge until none is above `threshold`.

    What is merged is a function of the graph alone: an edge that stands for several counts, among equals, as
    the first of them. So a part of the graph that nothing ties to the rest gives what it gives in the whole.

    Parameters
    ----------
    edges
        (E, 2) nodes, int32 or int64 (the working arrays are of the same type); overwritten.
    count, total
        (E,) int64 sums; overwritten. Affinity = total / count, or a percentile of the histogram.
    bins
        Of the histograms: where each edge's entries start and how many they are (E,), value and times (S,),
        and how many of the S are in use, with room for 512 more; all empty for the mean. Overwritten.
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
    first = np.full(nodes, EMPTY, edges.dtype)  # first half-edge of each node
    last = np.full(nodes, EMPTY, edges.dtype)
    following = np.full(2 * n, EMPTY, edges.dtype)
    degree = np.zeros(nodes, edges.dtype)
    table = np.full(_table_size(n), EMPTY, edges.dtype)
    heap_key, heap_edge, size = np.empty(16), np.empty(16, edges.dtype), 0
    for edge in range(n):
        for side in range(2):
            _append(first, last, following, degree, edges[edge, side], 2 * edge + side)
        _put(table, edges, edge)
        affinity = _affinity(count, total, bins, percent, edge)
        if affinity > threshold:
            heap_key, heap_edge, size = _push(heap_key, heap_edge, size, affinity, edge)
    pairs, strengths, merges = np.empty((nodes, 2), np.int64), np.empty(nodes), 0
    while size:
        key, edge, size = _pop(heap_key, heap_edge, size)
        if edges[edge, 0] == GONE or key != _affinity(count, total, bins, percent, edge):
            continue  # merged away, or re-entered with a newer affinity
        keep, lose = edges[edge, 0], edges[edge, 1]
        if degree[lose] > degree[keep] or (degree[lose] == degree[keep] and lose < keep):
            keep, lose = lose, keep
        pairs[merges, 0], pairs[merges, 1], strengths[merges] = keep, lose, key
        merges += 1
        _take(table, edges, edge)
        edges[edge, 0] = GONE
        graph = (edges, count, total, percent, table, first, last, following, degree)
        heap = (heap_key, heap_edge, size)
        heap = _rewire(graph, bins, keep, lose, threshold, heap)
        heap_key, heap_edge, size = heap
    return pairs[:merges].copy(), strengths[:merges].copy()


@njit(cache=True, nogil=True)
def _rewire(graph, bins, keep, lose, threshold, heap):  # type: ignore[no-untyped-def]
    """Give the edges of `lose` to `keep`; where both had one to the same node, the first of the two stays."""
    edges, count, total, percent, table, first, last, following, degree = graph
    heap_key, heap_edge, size = heap
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
                stays, goes = min(moved, other), max(moved, other)
                _add(count, total, bins, stays, goes)
                if stays == moved:
                    _take(table, edges, other)
                    _put(table, edges, moved)
                    _append(first, last, following, degree, keep, half)
                edges[goes, 0] = GONE
                affinity = _affinity(count, total, bins, percent, stays)
                if affinity > threshold:
                    heap_key, heap_edge, size = _push(heap_key, heap_edge, size, affinity, stays)
        half = after
    return heap_key, heap_edge, size


@njit(cache=True, nogil=True)
def _affinity(count, total, bins, percent, edge):  # type: ignore[no-untyped-def]
    start, length, value, times, _ = bins
    if len(start) == 0:
        return total[edge] / count[edge]
    rank, seen = (count[edge] * percent + 99) // 100, 0
    for entry in range(start[edge], start[edge] + length[edge]):
        seen += times[entry]
        if seen >= rank:
            return float(value[entry])
    return 0.0


@njit(cache=True, nogil=True)
def _add(count, total, bins, edge, other):  # type: ignore[no-untyped-def]
    count[edge] += count[other]
    total[edge] += total[other]
    if len(bins[0]):
        _add_bins(bins, edge, other)


@njit(cache=True, nogil=True)
def _add_bins(bins, edge, other):  # type: ignore[no-untyped-def]
    """Write the sum of two histograms behind all others; pack them when there is no room left."""
    start, length, value, times, used = bins
    if used[0] + length[edge] + length[other] > len(value):
        _pack(bins)
    i, j, k = start[edge], start[other], used[0]
    i_end, j_end = i + length[edge], j + length[other]
    start[edge] = k
    while i < i_end or j < j_end:
        left = i < i_end and (j == j_end or value[i] <= value[j])
        right = j < j_end and (i == i_end or value[j] <= value[i])
        value[k] = value[i] if left else value[j]
        times[k] = (times[i] if left else 0) + (times[j] if right else 0)
        i, j, k = i + left, j + right, k + 1
    length[edge], length[other] = k - start[edge], 0
    used[0] = k


@njit(cache=True, nogil=True)
def _pack(bins):  # type: ignore[no-untyped-def]
    """Move the histograms that are still in use together, in the order in which they lie."""
    start, length, value, times, used = bins
    place = 0
    for edge in np.argsort(start):
        begin = start[edge]
        start[edge] = place
        for entry in range(begin, begin + length[edge]):
            value[place], times[place] = value[entry], times[entry]
            place += 1
    used[0] = place


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
        keys = np.concatenate((keys, np.empty(size // 2)))
        heap = np.concatenate((heap, np.empty(size // 2, heap.dtype)))
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
    while size < 2 * edges:
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
        if _same(edges, table[slot], edge):
            return table[slot]
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(EMPTY)


@njit(cache=True, nogil=True)
def _put(table, edges, edge):  # type: ignore[no-untyped-def]
    slot = _slot(edges, edge, len(table))
    while table[slot] != EMPTY:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = edge


@njit(cache=True, nogil=True)
def _take(table, edges, edge):  # type: ignore[no-untyped-def]
    """Remove an edge, and move up those behind it that would no longer be found: no mark may stay behind."""
    last = len(table) - 1
    hole = _slot(edges, edge, len(table))
    while table[hole] != edge:
        hole = (hole + 1) & last
    place = hole
    while True:
        place = (place + 1) & last
        if table[place] == EMPTY:
            break
        home = _slot(edges, table[place], len(table))
        if ((place - home) & last) >= ((place - hole) & last):
            table[hole] = table[place]
            hole = place
    table[hole] = EMPTY
