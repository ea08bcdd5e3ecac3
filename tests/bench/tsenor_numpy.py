"""TSENOR (arXiv 2505.23949) in NumPy: what METHOD_TSENOR is compared with.

Written from the paper, twice. `literal_projections` is its loop as it stands, in logarithms. `projections` is
as fast as NumPy allows: float32, many blocks at a time, the block index last in memory, so that every operation
runs along vectors. Rounding is the same for both. Ties are broken as solver/README.md says.
"""

import numpy

# Blocks that are projected together: so many that a vector operation is long, so few entries that two
# arrays of them stay near the second-level cache.
CHUNK_BLOCKS = 512
CHUNK_ENTRIES = 1 << 18
# Iterations after which exponentials are taken anew, in which no scale changes by e^88, the range of float32.
# In between overflow and underflow do no harm: an entry above 1 counts as 1, however large, and one below
# e^-88 as nothing.
ABSORB_EVERY = 20
GREATEST_EXPONENT = 88.0


def first_projection(exponents, n):
    """Logarithms of the row and column scales after one iteration, in float64: exp(200) overflows float32."""
    log_n = numpy.log(n)
    rows = log_n - log_sum_exp(exponents, axis=1)
    columns = log_n - log_sum_exp(exponents + rows[:, None], axis=0)
    return rows, columns


def log_sum_exp(exponents, axis):
    greatest = exponents.max(axis=axis, keepdims=True)
    sums = numpy.exp(exponents - greatest).sum(axis=axis)
    return numpy.log(sums) + greatest.squeeze(axis)


def literal_projections(scores, n, tau, iterations):
    """S of all blocks, blocks x m x m in float32, with S and the correction Q of the box as logarithms."""
    greatest = numpy.maximum(scores.max(axis=(1, 2)), numpy.finfo(numpy.float32).tiny)
    s = scores * (numpy.float32(tau) / greatest)[:, None, None]
    q = numpy.zeros_like(s)
    log_n = numpy.float32(numpy.log(n))
    for _ in range(iterations):
        s += (log_n - log_sum_exp(s, axis=2))[:, :, None]
        s += (log_n - log_sum_exp(s, axis=1))[:, None]
        q += s
        numpy.minimum(q, 0, out=s)
        q -= s
    return numpy.exp(s)


def project(exponents, n, iterations):
    """Dykstra's projections of exp(exponents), m x m x blocks in float64, onto row sums n, column sums n and
    the box. Returns S in float32.

    The correction term of the box needs no memory: S Q = diag(u) exp(exponents) diag(v) throughout.
    """
    rows, columns = first_projection(exponents, n)
    done = 1
    while done < iterations:
        steps = min(ABSORB_EVERY, iterations - done)
        row_scale, column_scale = iterate(absorb(exponents, rows, columns), numpy.float32(n), steps)
        rows += numpy.log(row_scale)
        columns += numpy.log(column_scale)
        done += steps
    return numpy.minimum(absorb(exponents, rows, columns), 1)


def iterate(scaled, n, steps):
    """`steps` iterations on S Q = `scaled`, which they overwrite. Returns how the scales changed."""
    one = numpy.ones(scaled.shape[-1], numpy.float32)  # an array: NumPy has vector code for it
    capped = numpy.empty_like(scaled)
    row_scale = numpy.ones(scaled.shape[1:], numpy.float32)
    column_scale = row_scale.copy()
    for _ in range(steps):
        numpy.minimum(scaled, one, out=capped)
        row_step = n / capped.sum(axis=1)
        column_step = n / numpy.einsum("ib,ijb->jb", row_step, capped)
        scaled *= row_step[:, None]
        scaled *= column_step
        row_scale *= row_step
        column_scale *= column_step
    return row_scale, column_scale


def absorb(exponents, rows, columns):
    """exp(exponents + rows + columns) in float32."""
    sums = exponents + rows[:, None]
    sums += columns
    numpy.minimum(sums, GREATEST_EXPONENT, out=sums)
    return numpy.exp(sums.astype(numpy.float32))


@numpy.errstate(over="ignore", under="ignore")
def projections(scores, n, tau, iterations):
    """S of all blocks, blocks x m x m, chunk by chunk."""
    blocks, m, _ = scores.shape
    result = numpy.empty_like(scores)
    chunk = max(1, min(CHUNK_BLOCKS, CHUNK_ENTRIES // (m * m)))
    greatest = numpy.maximum(scores.max(axis=(1, 2)), numpy.finfo(numpy.float32).tiny)
    for first in range(0, blocks, chunk):
        part = slice(first, first + chunk)
        exponents = scores[part] * (tau / greatest[part, None, None].astype(numpy.float64))
        columns_last = numpy.ascontiguousarray(exponents.transpose(1, 2, 0))
        result[part] = project(columns_last, n, iterations).transpose(2, 0, 1)
    return result


def descending(s, scores):
    """Per block, its entries by descending S, then score, then position."""
    blocks = len(scores)
    # The bits of non-negative floats have the order of the floats.
    keys = s.view(numpy.uint32).astype(numpy.uint64) << numpy.uint64(32) | scores.view(numpy.uint32)
    return numpy.argsort(~keys.reshape(blocks, -1), axis=1, kind="stable")


def greedy(s, scores, n):
    """Keeps entries in descending order while row and column have room: one entry of every block at a time."""
    blocks, m, _ = scores.shape
    order = descending(s, scores).T
    block = numpy.arange(blocks)
    rows, columns = divmod(order, m)
    kept = numpy.zeros(blocks * m * m, bool)
    row_room = numpy.full(blocks * m, n, numpy.int8)
    column_room = row_room.copy()
    for entry, row, column in zip(order + block * m * m, rows + block * m, columns + block * m):
        row_left, column_left = row_room.take(row), column_room.take(column)
        fits = (row_left > 0) & (column_left > 0)
        kept[entry] = fits
        row_room[row] = row_left - fits
        column_room[column] = column_left - fits
    return kept.reshape(blocks, m, m), row_room.reshape(blocks, m), column_room.reshape(blocks, m)


def swap(kept, row_room, column_room, scores, swaps):
    """Up to `swaps` times: for the first row i and column j with room the best exchange of an entry (x, y)
    that is kept for (i, y) and (x, j), which are not."""
    for _ in range(swaps):
        short = numpy.flatnonzero(row_room.any(axis=1) & column_room.any(axis=1))
        if short.size == 0:
            break
        every = numpy.arange(short.size)
        i = (row_room[short] > 0).argmax(axis=1)
        j = (column_room[short] > 0).argmax(axis=1)
        mask, w = kept[short], scores[short].astype(numpy.float64)
        gain = w[every, i][:, None, :] + w[every, :, j][:, :, None] - w
        allowed = mask & ~mask[every, i][:, None, :] & ~mask[every, :, j][:, :, None]
        gain[~allowed] = -numpy.inf
        best = gain.reshape(short.size, -1).argmax(axis=1)
        possible = allowed.reshape(short.size, -1)[every, best]
        x, y = divmod(best, scores.shape[1])
        block, i, j, x, y = (index[possible] for index in (short, i, j, x, y))
        kept[block, i, y] = kept[block, x, j] = True
        kept[block, x, y] = False
        row_room[block, i] -= 1
        column_room[block, j] -= 1


def masks(scores, n, tau=200.0, iterations=300, swaps=10, project_all=projections):
    """Masks of blocks x m x m float32 scores, as published."""
    s = project_all(scores, n, tau, iterations)
    kept, row_room, column_room = greedy(s, scores, n)
    swap(kept, row_room, column_room, scores, swaps)
    return kept
