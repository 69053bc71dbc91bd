/* The loop that benchmarks/c.py times: many steps of a graph. */

typedef void (*step_function)(const void *in, const void *out, void *scratch, const void *weights, int level);

void steps(step_function step, const void *in, const void *out, void *scratch, const void *weights, int level, int count)
{
    while (count-- > 0)
        step(in, out, scratch, weights, level);
}
