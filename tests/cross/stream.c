/* Streams text through runtime_demo/c/edge_text.c, whose source precedes this one: see test_phones.py.

   PROMPT SEED TEMPERATURE TOP_K TOKENS [model.bin]: prints the text, which another text continues in the middle from a
   snapshot. Without arguments but [model.bin]: tries what must be refused. */
#include <stdio.h>

static void *weights;
static size_t weights_size;

static int read_weights(const char *path)
{
    FILE *const file = fopen(path, "rb");
    weights = malloc(1 << 24);
    weights_size = file && weights ? fread(weights, 1, 1 << 24, file) : 0;
    return file && fclose(file) == 0 && weights_size > 0;
}

static int print(const char *utf8, int32_t length, void *user)
{
    (void)user;
    return fwrite(utf8, 1, (size_t)length, stdout) != (size_t)length;
}

static int pass(const char *utf8, int32_t length, void *user)
{
    (void)utf8;
    (void)length;
    return --*(int *)user == 0;
}

static int stream(char **given)
{
    const int32_t limit = atoi(given[4]);
    void *const bytes = malloc(edge_text_snapshot_size());
    edge_text *text = edge_text_open(weights, weights_size), *other = edge_text_open(weights, weights_size);
    int left = 3;
    if (!bytes || !text || !other)
        return 3;
    edge_text_begin(text, strtoull(given[1], NULL, 10));
    if (edge_text_sample(text, atof(given[2]), atoi(given[3])) != 0)
        return 4;
    if (edge_text_read(text, given[0], strlen(given[0])) != 0)
        return 5;
    if (edge_text_generate(text, limit / 2, print, NULL) != 0)
        return 6;
    edge_text_snapshot(text, bytes);
    if (edge_text_generate(text, -1, pass, &left) != EDGE_TEXT_STOPPED || left != 0)
        return 7;
    if (edge_text_restore(other, bytes, edge_text_snapshot_size()) != 0)
        return 8;
    edge_text_close(text);
    if (edge_text_generate(other, limit - limit / 2, print, NULL) != 0)
        return 9;
    edge_text_close(other);
    free(bytes);
    return 0;
}

/* Whether a snapshot with one changed member, and a digest that fits it, is taken. */
#define TAKES(text, saved, member, value) ((changed) = (saved), (changed).member = (value), \
    (changed).digest = digest_of(&(changed)), edge_text_restore(text, &(changed), sizeof(changed)) == 0)

static int refuse(void)
{
    edge_text *const text = edge_text_open(weights, weights_size);
    const char *utf8;
    unsigned char before[sizeof(snapshot)], after[sizeof(snapshot)];
    snapshot saved, changed;
    size_t i;
#ifdef EDGE_TEXT_BLOB
    if (edge_text_open(weights, weights_size - 1) || edge_text_open(NULL, 0))
        return 3;
#endif
    if (!text || edge_text_next(text, &utf8) != EDGE_TEXT_FAILED)
        return 4;
    if (MODEL_VOCABULARY < 256 && edge_text_read(text, "fox\x01", 4) != -4) /* there are not all bytes in it */
        return 5;
    if (edge_text_sample(text, -1.0, 0) == 0 || edge_text_sample(text, 1.0, -1) == 0)
        return 6;
    if (edge_text_read(text, "fox", 3) != 0)
        return 7;
    edge_text_snapshot(text, before);
    for (i = 0; i < sizeof before; i += i < 64 ? 1 : 97) {
        memcpy(after, before, sizeof before);
        after[i] ^= 1;
        if (edge_text_restore(text, after, sizeof after) == 0)
            return 8;
    }
    if (edge_text_restore(text, before, sizeof before - 1) == 0)
        return 9;
    memcpy(&saved, before, sizeof saved);
    if (!TAKES(text, saved, ready, 1) || TAKES(text, saved, ready, 2) || TAKES(text, saved, next, MODEL_HISTORY)
        || TAKES(text, saved, next, -1) || TAKES(text, saved, recents, MODEL_HISTORY + 1)
        || TAKES(text, saved, recent[0], -1) || TAKES(text, saved, recent[0], MODEL_VOCABULARY)
        || TAKES(text, saved, held_count, 1) || TAKES(text, saved, held_count, INT32_MAX)
        || TAKES(text, saved, held_count, -1) || TAKES(text, saved, temperature, -1.0)
        || TAKES(text, saved, top_k, -1))
        return 10;
    edge_text_snapshot(text, after);
    if (memcmp(before, after, sizeof before) != 0) /* nothing was changed */
        return 11;
    edge_text_close(text);
    edge_text_close(NULL);
    return 0;
}

int main(int argc, char **argv)
{
    const int streams = argc > 5;
    if (argc == (streams ? 7 : 2) && !read_weights(argv[argc - 1]))
        return 2;
    return streams ? stream(argv + 1) : refuse();
}
