/* A synapse that spikes drive: convolution or pointwise map, affine, and the neurons behind it.
 *
 * Weights are rows, one per kernel position and input channel, of all output channels; the sum of
 * an output position is the sum of the rows of the spikes in its window. All steps of a position
 * follow each other, so the neurons' membranes never leave the core, and what comes out is bits.
 * Integer weights are summed in 16 bits, and moved into 32 bits before they can overflow.
 *
 * Rows of an activation are (image, position, step); `groups` are sixteen output channels.
 */
#include "events.h"
#include "sums.h"

static int64_t operations_of(const struct synapse *s, const struct window *w)
{
    int64_t total = 0;
    if (!s->operations) {
        if (!w->values)
            return w->n * s->outputs;
        for (int64_t i = 0; i < w->n; i++)
            total += w->values[i];
        return total * s->outputs;
    }
    for (int64_t i = 0; i < w->n; i++)
        total += (int64_t)s->operations[w->list[i]] * (w->values ? w->values[i] : 1);
    return total;
}

/* Windows whose sums are made together, so that weights are read from near: block after block of
 * groups, and in a block one chunk of weight rows after the other. A chunk fits the first cache if
 * the lists are long enough to be cut so often, else the second. */
#define TILE 32
#define FIRST_CACHE 24576
#define NEAR 131072 /* a block of up to so many bytes is not worth cutting */
#define SECOND_CACHE 262144
#define LONG_ENOUGH 8

struct tile {
    struct window windows[TILE];
    int64_t positions; /* of which each has all steps */
    int64_t first_row; /* of the output */
    int64_t chunks, chunk_rows;
    int32_t *cuts; /* [TILE][chunks + 1]: where the lists enter each chunk */
};

static int64_t rows_of(const struct synapse *s) { return s->kernel * s->kernel * s->inputs; }

static int64_t rows_in(const struct synapse *s, int64_t bytes)
{
    int64_t groups = groups_of(s->outputs) < BLOCK ? groups_of(s->outputs) : BLOCK;
    return bytes / (groups * LANES * (s->integers ? 2 : 4));
}

static void cut_lists(const struct synapse *s, struct tile *tile)
{
    int64_t windows = tile->positions * s->steps, total = 0, rows = rows_in(s, FIRST_CACHE);
    for (int64_t i = 0; i < windows; i++)
        total += tile->windows[i].n;
    int64_t near = rows_of(s) <= rows_in(s, NEAR);
    if (near || total * rows < LONG_ENOUGH * windows * rows_of(s))
        rows = rows_in(s, SECOND_CACHE);
    tile->chunk_rows = rows;
    tile->chunks = (rows_of(s) + rows - 1) / rows;
    for (int64_t i = 0; i < windows && tile->chunks > 1; i++) {
        const struct window *w = tile->windows + i;
        int32_t *cuts = tile->cuts + i * (tile->chunks + 1);
        int64_t at = 0;
        for (int64_t chunk = 0; chunk < tile->chunks; chunk++) {
            cuts[chunk] = (int32_t)at;
            while (at < w->n && w->list[at] < (chunk + 1) * rows)
                at++;
        }
        cuts[tile->chunks] = (int32_t)w->n;
    }
}

INLINE reals added(const struct synapse *s, reals a, reals b)
{
    return s->integers ? (reals)((ints)a + (ints)b) : a + b;
}

/* Sums of a tile for one block, chunk by chunk. */
static void sum_chunks(const struct synapse *s, const struct tile *tile, const void *weights,
                       int64_t count, reals sums[TILE][BLOCK])
{
    int64_t windows = tile->positions * s->steps;
    for (int64_t i = 0; i < windows; i++)
        clear(sums[i], count);
    for (int64_t chunk = 0; chunk < tile->chunks; chunk++)
        for (int64_t i = 0; i < windows; i++) {
            const struct window *w = tile->windows + i;
            const int32_t *cuts = tile->cuts + i * (tile->chunks + 1) + chunk;
            struct window part = {w->list + cuts[0], w->values ? w->values + cuts[0] : NULL,
                                  cuts[1] - cuts[0]};
            reals some[BLOCK];
            sum_rows(s, weights, count, &part, some);
            for (int64_t j = 0; j < count; j++)
                sums[i][j] = added(s, sums[i][j], some[j]);
        }
}

INLINE void as_reals(const struct synapse *s, reals *sums, int64_t count)
{
    for (int64_t j = 0; j < count && s->integers; j++)
        sums[j] = __builtin_convertvector((ints)sums[j], reals);
}

INLINE void run_blocks(const struct synapse *s, const struct tile *tile, const int only)
{
    int64_t groups = groups_of(s->outputs), size = s->integers ? sizeof(int16_t) : sizeof(float);
    int in_chunks = tile->chunks > 1;
    const char *weights = s->weights;
    reals all_sums[TILE][BLOCK];
    for (int64_t first = 0; first < groups; first += BLOCK) {
        int64_t count = groups - first < BLOCK ? groups - first : BLOCK;
        if (in_chunks)
            sum_chunks(s, tile, weights, count, all_sums);
        int64_t row = tile->first_row, i = 0;
        for (int64_t p = 0; p < tile->positions; p++) {
            reals membranes[BLOCK];
            clear(membranes, count);
            for (int64_t t = 0; t < s->steps; t++, i++, row++) {
                reals own[BLOCK], *sums = in_chunks ? all_sums[i] : own;
                if (!in_chunks)
                    sum_rows(s, weights, count, tile->windows + i, own);
                as_reals(s, sums, count);
                settle(s, row, first, count, sums, membranes, only);
            }
        }
        weights += rows_of(s) * count * LANES * size;
    }
}

static void run_tile(const struct synapse *s, struct tile *tile, int64_t image)
{
    cut_lists(s, tile);
    if (only_spikes(s))
        run_blocks(s, tile, 1);
    else
        run_blocks(s, tile, 0);
    for (int64_t i = 0; i < tile->positions * s->steps; i++)
        s->counted[image] += operations_of(s, tile->windows + i);
}

static int64_t positions_per_tile(const struct synapse *s)
{
    return s->steps < TILE ? TILE / s->steps : 1;
}

static int64_t cut_bytes(const struct synapse *s)
{
    return TILE * (rows_of(s) / rows_in(s, FIRST_CACHE) + 2) * (int64_t)sizeof(int32_t);
}

/* Room for the lists of a tile; returns what is behind it. */
static char *open_tile(const struct synapse *s, struct tile *tile)
{
    int64_t window = s->kernel * s->kernel * s->inputs + SLACK;
    char *at = s->workspace;
    tile->cuts = (int32_t *)at;
    at += cut_bytes(s);
    for (int64_t i = 0; i < TILE; i++, at += 3 * window + window % 2) {
        tile->windows[i].list = (uint16_t *)at;
        tile->windows[i].values = s->bits ? NULL : (uint8_t *)(at + 2 * window);
    }
    return at;
}

/* Each position sees itself alone. */
static void run_pointwise(const struct synapse *s)
{
    int64_t words = words_of(s->inputs), positions = s->height * s->width;
    int64_t most = positions_per_tile(s);
    struct tile tile;
    open_tile(s, &tile);
    for (int64_t image = 0; image < s->images; image++)
        for (int64_t p = 0; p < positions; p += most) {
            tile.positions = positions - p < most ? positions - p : most;
            tile.first_row = (image * positions + p) * s->steps;
            for (int64_t i = 0; i < tile.positions * s->steps; i++) {
                struct window *w = tile.windows + i;
                int64_t row = tile.first_row + i;
                uint16_t *end =
                    s->bits ? list_bits(s->bits + row * words, s->inputs, 0, w->list)
                            : list_counts(s->counts + row * s->inputs, s->inputs, 0, w->list,
                                          w->values);
                w->n = end - w->list;
            }
            run_tile(s, &tile, image);
        }
}

/* The lists of one image: of every line of pixels and step, entry x * inputs + c, in order. */
struct lines {
    uint16_t *entries; /* [height][steps][width * inputs + SLACK] */
    uint8_t *values;   /* the same */
    int32_t *starts;   /* [height][steps][width + 1] */
    int64_t length;    /* of a line's list at most */
};

static struct lines lines_at(const struct synapse *s, char *at)
{
    int64_t lines = s->height * s->steps, length = s->width * s->inputs + SLACK;
    struct lines l = {.length = length};
    at += -(uintptr_t)at % 64;
    l.starts = (int32_t *)at;
    at += 4 * lines * (s->width + 1);
    l.entries = (uint16_t *)at;
    l.values = (uint8_t *)(at + 2 * lines * length);
    return l;
}

static void list_image(const struct synapse *s, int64_t image, const struct lines *l)
{
    int64_t words = words_of(s->inputs);
    for (int64_t y = 0; y < s->height; y++)
        for (int64_t t = 0; t < s->steps; t++) {
            int64_t line = y * s->steps + t;
            uint16_t *list = l->entries + line * l->length, *end = list;
            uint8_t *values = l->values + line * l->length;
            int32_t *starts = l->starts + line * (s->width + 1);
            for (int64_t x = 0; x < s->width; x++) {
                int64_t row = ((image * s->height + y) * s->width + x) * s->steps + t;
                starts[x] = (int32_t)(end - list);
                end = s->bits ? list_bits(s->bits + row * words, s->inputs, x * s->inputs, end)
                              : list_counts(s->counts + row * s->inputs, s->inputs, x * s->inputs,
                                            end, values + (end - list));
            }
            starts[s->width] = (int32_t)(end - list);
        }
}

/* The window of an output position: the runs of its lines, entries made weight rows. */
static void gather(const struct synapse *s, const struct lines *l, int64_t y, int64_t x, int64_t t,
                   struct window *w)
{
    int64_t top = y * s->stride - s->padding, left = x * s->stride - s->padding, n = 0;
    int64_t from = left < 0 ? 0 : left;
    int64_t to = left + s->kernel < s->width ? left + s->kernel : s->width;
    for (int64_t k = 0; k < s->kernel && from < to; k++) {
        if (top + k < 0 || top + k >= s->height)
            continue;
        int64_t line = (top + k) * s->steps + t;
        const int32_t *starts = l->starts + line * (s->width + 1);
        int64_t begin = starts[from], count = starts[to] - begin;
        int64_t shift = (k * s->kernel - left) * s->inputs;
        copy_shifted(w->list + n, l->entries + line * l->length + begin, count, (uint16_t)shift);
        if (w->values)
            copy_values(w->values + n, l->values + line * l->length + begin, count);
        n += count;
    }
    w->n = n;
}

static void run_convolution(const struct synapse *s)
{
    struct tile tile;
    struct lines l = lines_at(s, open_tile(s, &tile));
    int64_t positions = s->out_height * s->out_width, most = positions_per_tile(s);
    for (int64_t image = 0; image < s->images; image++) {
        list_image(s, image, &l);
        for (int64_t p = 0; p < positions; p += most) {
            tile.positions = positions - p < most ? positions - p : most;
            tile.first_row = (image * positions + p) * s->steps;
            for (int64_t i = 0; i < tile.positions * s->steps; i++) {
                int64_t at = p + i / s->steps;
                gather(s, &l, at / s->out_width, at % s->out_width, i % s->steps,
                       tile.windows + i);
            }
            run_tile(s, &tile, image);
        }
    }
}

void run_synapse(const struct synapse *s)
{
    if (is_pointwise(s))
        run_pointwise(s);
    else
        run_convolution(s);
}

/* Bytes of `workspace` that a synapse needs. */
int64_t workspace_of(const struct synapse *s)
{
    int64_t window = s->kernel * s->kernel * s->inputs + SLACK;
    int64_t lines = s->height * s->steps, length = s->width * s->inputs + SLACK;
    return cut_bytes(s) + TILE * (3 * window + 1) + lines * (3 * length + 4 * (s->width + 1)) + 128;
}
