/* A whole predicted front at once: see sweep.py, whose every rounding this keeps. */

#include <stdint.h>

/* What a space's costs look like from one axis after the other. Terms of axis a are those from
 * first_term[a] to first_term[a + 1]; the axes that a term depends on besides are those from
 * first_other[t] to first_other[t + 1]. */
struct costs {
    int64_t axes;
    const int64_t *first_level; /* [axes + 1], into the damages */
    const int64_t *first_term;  /* [axes + 1] */
    const double *values;       /* of all terms, one table behind the other */
    const int64_t *table;       /* [terms], where a term's table begins */
    const int64_t *stride;      /* [terms], between levels of the axis */
    const double *factor;       /* [terms] */
    const int64_t *first_other; /* [terms + 1] */
    const int64_t *other;       /* its number */
    const int64_t *other_stride;
};

/* Cost of every level of an axis while the others stand still, but for a constant. */
static void add_up(const struct costs *c, int64_t axis, int64_t levels, const int64_t *point,
                   double *cost) {
    for (int64_t level = 0; level < levels; level++) cost[level] = 0.0;
    for (int64_t t = c->first_term[axis]; t < c->first_term[axis + 1]; t++) {
        const double *values = c->values + c->table[t];
        for (int64_t o = c->first_other[t]; o < c->first_other[t + 1]; o++)
            values += point[c->other[o]] * c->other_stride[o];
        for (int64_t level = 0; level < levels; level++)
            cost[level] += c->factor[t] * values[level * c->stride[t]];
    }
}

/* Each axis takes its best level in turn, until none moves. */
static void descend(const struct costs *c, const double *damages, double price, int64_t rounds,
                    int64_t *point, double *cost) {
    for (int64_t round = 0; round < rounds; round++) {
        int64_t moved = 0;
        for (int64_t axis = 0; axis < c->axes; axis++) {
            const double *damage = damages + c->first_level[axis];
            int64_t levels = c->first_level[axis + 1] - c->first_level[axis], best = 0;
            add_up(c, axis, levels, point, cost);
            for (int64_t level = 0; level < levels; level++) {
                cost[level] = damage[level] + price * cost[level];
                if (cost[level] < cost[best]) best = level;
            }
            moved |= best != point[axis];
            point[axis] = best;
        }
        if (!moved) return;
    }
}

/* Points [prices, axes] for one price after the other, each from where the one before ended.
 * point: where the first one starts. cost: room for the levels of any axis. */
void sweep(const struct costs *c, const double *damages, const double *prices, int64_t count,
           int64_t rounds, int64_t *point, double *cost, int64_t *found) {
    for (int64_t price = 0; price < count; price++) {
        descend(c, damages, prices[price], rounds, point, cost);
        for (int64_t axis = 0; axis < c->axes; axis++) *found++ = point[axis];
    }
}
