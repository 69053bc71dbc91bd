#include "edge_text.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"

/* A text as bytes, without pointers. */
typedef struct {
    uint64_t network; /* a digest of its weights */
    uint64_t digest;  /* of the members below */
    double temperature;
    int32_t top_k, recents, next, ready, held_count;
    unsigned char held[4];
    uint64_t generator;
    int32_t recent[MODEL_HISTORY];
    float logits[MODEL_VOCABULARY];
    model_state state;
} snapshot;

struct edge_text {
    model_state state, first; /* what the network remembers of the text, and of no text */
    model_text sampled;
    model_sampler sampler;
    uint64_t network;
    unsigned char held[4]; /* the bytes of a character that is not complete */
    int32_t held_count;
    char shown[64]; /* what a token completes: six bytes for each of the bytes of its text, of which there are up to 8 */
};

/* FNV-1a. */
static uint64_t digest(const void *bytes, size_t size)
{
    const unsigned char *const each = bytes;
    uint64_t value = 0xcbf29ce484222325u;
    size_t i;
    for (i = 0; i < size; i++)
        value = (value ^ each[i]) * 0x100000001b3u;
    return value;
}

static int begin_state(model_state *state, const void *weights, size_t size)
{
#ifdef EDGE_TEXT_BLOB
    return model_step_init(state, weights, size);
#else
    (void)weights;
    (void)size;
    model_step_init(state);
    return 0;
#endif
}

edge_text *edge_text_open(const void *weights, size_t size)
{
    edge_text *const text = calloc(1, sizeof *text);
    if (text && begin_state(&text->first, weights, size) != 0) {
        free(text);
        return NULL;
    }
    if (text) {
        text->network = digest(text->first.weights, sizeof *text->first.weights);
        text->sampler = model_plain_sampler();
        edge_text_sample(text, 0.8, 40);
        edge_text_begin(text, 0);
    }
    return text;
}

void edge_text_close(edge_text *text)
{
    free(text);
}

void edge_text_begin(edge_text *text, uint64_t seed)
{
    text->state = text->first;
    memset(&text->sampled, 0, sizeof text->sampled);
    model_begin(&text->sampled, seed);
    text->held_count = 0;
}

int edge_text_sample(edge_text *text, double temperature, int32_t top_k)
{
    model_sampler sampler = text->sampler;
    sampler.temperature = temperature;
    sampler.top_k = top_k;
    if (!model_possible(&sampler))
        return -1;
    text->sampler = sampler;
    return 0;
}

static int pass_over(int32_t token, void *user)
{
    (void)token;
    (void)user;
    return 1;
}

int32_t edge_text_read(edge_text *text, const char *utf8, size_t length)
{
    const int32_t count = model_encode(utf8, length, NULL, 0);
    int32_t *tokens;
    if (count <= 0)
        return count;
    tokens = malloc((size_t)count * sizeof *tokens);
    if (!tokens)
        return EDGE_TEXT_NO_MEMORY;
    model_encode(utf8, length, tokens, (size_t)count);
    model_generate(&text->state, &text->sampled, &text->sampler, tokens, count, 0, pass_over, NULL);
    free(tokens);
    text->held_count = 0;
    return 0;
}

/* Returns whether a byte continues the bytes of a character that are held. */
static int continues(const unsigned char *held, int32_t count, unsigned char byte)
{
    const unsigned char first = count == 1 ? held[0] : 0;
    const int low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const int high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return byte >= low && byte <= high;
}

/* Returns the number of bytes of the character that a byte begins, or 0 if it begins none. */
static int32_t length_of(unsigned char byte)
{
    return byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0;
}

static char *put(char *to, const void *bytes, int32_t count)
{
    memcpy(to, bytes, (size_t)count);
    return to + count;
}

/* Reads one more byte of the text. Writes the character that it completes, and U+FFFD for bytes that are none. */
static char *push(edge_text *text, unsigned char byte, char *to)
{
    static const char unknown[] = "\xef\xbf\xbd";
    if (text->held_count > 0 && !continues(text->held, text->held_count, byte)) {
        to = put(to, unknown, 3);
        text->held_count = 0;
    }
    if (text->held_count == 0 && length_of(byte) == 0)
        return put(to, unknown, 3);
    text->held[text->held_count++] = byte;
    if (text->held_count == length_of(text->held[0])) {
        to = put(to, text->held, text->held_count);
        text->held_count = 0;
    }
    return to;
}

static int keep(int32_t token, void *user)
{
    *(int32_t *)user = token;
    return 0;
}

int32_t edge_text_next(edge_text *text, const char **utf8)
{
    int32_t token = -1, size = 0, i;
    char *end = text->shown;
    const char *bytes;
    const model_ending ending =
        model_generate(&text->state, &text->sampled, &text->sampler, NULL, 0, 1, keep, &token);
    if (ending != MODEL_AT_LIMIT)
        return ending == MODEL_AT_END ? EDGE_TEXT_AT_END : EDGE_TEXT_FAILED;
    bytes = model_token_text(token, &size);
    for (i = 0; i < size; i++)
        end = push(text, (unsigned char)bytes[i], end);
    *utf8 = text->shown;
    return (int32_t)(end - text->shown);
}

int32_t edge_text_generate(edge_text *text, int32_t limit, int (*take)(const char *utf8, int32_t length, void *user),
                           void *user)
{
    const char *utf8;
    while (limit != 0) {
        const int32_t length = edge_text_next(text, &utf8);
        if (length < 0)
            return length;
        if (length > 0 && take(utf8, length, user) != 0)
            return EDGE_TEXT_STOPPED;
        if (limit > 0)
            limit--;
    }
    return 0;
}

size_t edge_text_snapshot_size(void)
{
    return sizeof(snapshot);
}

static uint64_t digest_of(const snapshot *saved)
{
    const size_t begin = offsetof(snapshot, temperature);
    return digest((const char *)saved + begin, sizeof *saved - begin);
}

void edge_text_snapshot(const edge_text *text, void *bytes)
{
    snapshot saved;
    memset(&saved, 0, sizeof saved);
    saved.network = text->network;
    saved.temperature = text->sampler.temperature;
    saved.top_k = text->sampler.top_k;
    saved.recents = text->sampled.recents;
    saved.next = text->sampled.next;
    saved.ready = text->sampled.ready;
    saved.held_count = text->held_count;
    memcpy(saved.held, text->held, (size_t)text->held_count);
    saved.generator = text->sampled.generator;
    memcpy(saved.recent, text->sampled.recent, sizeof saved.recent);
    memcpy(saved.logits, text->sampled.logits, sizeof saved.logits);
    saved.state = text->state;
    saved.state.weights = NULL;
    saved.digest = digest_of(&saved);
    memcpy(bytes, &saved, sizeof saved);
}

static int in_range(int32_t value, int32_t low, int32_t high)
{
    return value >= low && value <= high;
}

/* Returns whether a text can continue from these values without reading outside of its arrays. */
static int is_sound(const snapshot *saved)
{
    int32_t i;
    for (i = 0; i < MODEL_HISTORY; i++)
        if (!in_range(saved->recent[i], 0, MODEL_VOCABULARY - 1))
            return 0;
    for (i = 1; i < saved->held_count; i++)
        if (i > 3 || !continues(saved->held, i, saved->held[i]))
            return 0;
    return in_range(saved->recents, 0, MODEL_HISTORY) && in_range(saved->next, 0, MODEL_HISTORY - 1) &&
           in_range(saved->ready, 0, 1) &&
           (saved->held_count == 0 || in_range(saved->held_count, 1, length_of(saved->held[0]) - 1));
}

int edge_text_restore(edge_text *text, const void *bytes, size_t size)
{
    snapshot saved;
    if (size != sizeof saved)
        return -1;
    memcpy(&saved, bytes, size);
    if (saved.network != text->network || saved.digest != digest_of(&saved) || !is_sound(&saved) ||
        edge_text_sample(text, saved.temperature, saved.top_k) != 0)
        return -1;
    saved.state.weights = text->first.weights;
    saved.state.level = text->first.level;
    text->state = saved.state;
    text->sampled.generator = saved.generator;
    memcpy(text->sampled.recent, saved.recent, sizeof saved.recent);
    text->sampled.recents = saved.recents;
    text->sampled.next = saved.next;
    text->sampled.ready = saved.ready;
    memcpy(text->sampled.logits, saved.logits, sizeof saved.logits);
    memcpy(text->held, saved.held, sizeof saved.held);
    text->held_count = saved.held_count;
    return 0;
}
