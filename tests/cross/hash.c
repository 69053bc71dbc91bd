/* For one precision, which is included as PRECISION.c: steps of a language model, and a hash of what they compute. */
static uint64_t hash_of_PRECISION(int level)
{
    static PRECISION_step_scratch scratch;
    static float logits[VOCABULARY], h[2][STATE], c[2][STATE];
    uint64_t hash = 14695981039346656037u;
    int64_t token;
    int step;
    memset(h[0], 0, sizeof h[0]);
    memset(c[0], 0, sizeof c[0]);
    for (step = 0; step < 50; step++) {
        const int now = step % 2, next = 1 - now;
        PRECISION_step_inputs in;
        PRECISION_step_outputs out;
        token = (7 * step + 3) % VOCABULARY;
        in.token = &token, in.h_in = h[now], in.c_in = c[now];
        out.logits = logits, out.h_out = h[next], out.c_out = c[next];
        PRECISION_step_run(&in, &out, &scratch, &PRECISION_step_stored, level);
        hash = hashed(hash, logits, sizeof logits);
    }
    return hashed(hashed(hash, h[0], sizeof h[0]), c[0], sizeof c[0]);
}
