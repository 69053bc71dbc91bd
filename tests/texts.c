/* Runs the sources of texts on what standard input gives: see tests/host/test_c_texts.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sampling.c"
#include "text.c"
#ifdef WITH_TOKENIZER
#include "tables.c"
#include "tokenizer.c"
#endif

#define MOST 1000

struct NAME_state {
    uint32_t read;
};

/* Scores which depend on all tokens that were read. */
void NAME_step(NAME_state *state, int32_t token, float *logits)
{
    int32_t i;
    state->read = state->read * 31u + (uint32_t)token;
    for (i = 0; i < NAME_VOCABULARY; i++)
        logits[i] = (float)(((state->read + (uint32_t)i) * 2654435761u) >> 24) * 0.03125f;
}

static double number(void)
{
    double value;
    if (scanf("%lf", &value) != 1)
        exit(2);
    return value;
}

static int32_t whole(void)
{
    return (int32_t)number();
}

static int32_t tokens(int32_t *into)
{
    int32_t i;
    const int32_t count = whole();
    for (i = 0; i < count; i++)
        into[i] = whole();
    return count;
}

static NAME_text text;
static int32_t bias_tokens[MOST];
static double bias_values[MOST];

/* Read a seed and the settings of a sampler. */
static int begin(NAME_sampler *sampler)
{
    uint64_t seed;
    int32_t i;
    if (scanf("%" SCNu64, &seed) != 1)
        return 0;
    NAME_begin(&text, seed);
    *sampler = NAME_plain_sampler();
    sampler->temperature = number();
    sampler->top_k = whole();
    sampler->top_p = number();
    sampler->min_p = number();
    sampler->repetition_penalty = number();
    sampler->repetition_window = whole();
    sampler->biases = whole();
    sampler->bias_tokens = bias_tokens;
    sampler->bias_values = bias_values;
    for (i = 0; i < sampler->biases; i++) {
        bias_tokens[i] = whole();
        bias_values[i] = number();
    }
    return 1;
}

/* Print the tokens that are drawn one after another, and the last state of the generator. */
static void draw(void)
{
    static int32_t said[MOST];
    static float logits[NAME_VOCABULARY];
    NAME_sampler sampler;
    while (begin(&sampler)) {
        int32_t i, token = 0;
        const int32_t count = tokens(said), draws = whole();
        for (i = 0; i < count; i++)
            NAME_remember(&text, said[i]);
        for (i = 0; i < NAME_VOCABULARY; i++)
            logits[i] = (float)number();
        for (i = 0; i < draws && token >= 0; i++) {
            token = NAME_draw(&sampler, &text, logits);
            printf("%" PRId32 " ", token);
            if (token >= 0)
                NAME_remember(&text, token);
        }
        printf("%" PRIu64 "\n", text.generator);
    }
}

static int take(int32_t token, void *user)
{
    int32_t *const left = (int32_t *)user;
    printf("%" PRId32 " ", token);
    return --*left == 0;
}

/* Print the tokens of a text that goes on after each of its prompts, and why each part ended. */
static void generate(void)
{
    static int32_t prompt[MOST];
    NAME_sampler sampler;
    while (begin(&sampler)) {
        NAME_state state = {0};
        int32_t parts = whole();
        for (; parts > 0; parts--) {
            const int32_t count = tokens(prompt), limit = whole();
            int32_t left = whole();
            const NAME_ending ending = NAME_generate(&state, &text, &sampler, prompt, count, limit, take, &left);
            printf("%d ", (int)ending);
        }
        printf("%" PRIu32 "\n", state.read);
    }
}

/* Print the exponentials of numbers, so many at once as there may be. */
static void print_exponentials(void)
{
    static double x[MOST];
    int32_t i, count;
    do {
        for (count = 0; count < MOST && scanf("%lf", &x[count]) == 1;)
            count++;
        exponentials(x, count);
        for (i = 0; i < count; i++)
            printf("%a\n", x[i]);
    } while (count == MOST);
}

#ifdef WITH_TOKENIZER
/* Print the texts of all tokens, and then the tokens of a text. */
static void encode(void)
{
    static char given[1 << 16];
    static int32_t ids[1 << 16];
    const size_t length = fread(given, 1, sizeof given, stdin);
    char *const exact = malloc(length + 1); /* so that reading beyond it is noticed */
    int32_t i, token, size;
    for (token = 0; token < NAME_VOCABULARY; token++) {
        const char *const own = NAME_token_text(token, &size);
        for (i = 0; i < size; i++)
            printf("%02x", (unsigned)(unsigned char)own[i]);
        printf("\n");
    }
    memcpy(exact, given, length);
    size = NAME_encode(exact, length, 0, 0);
    if (NAME_encode(exact, length, ids, 2) != size || NAME_encode(exact, length, ids, 1 << 16) != size)
        exit(2);
    printf("%" PRId32, size);
    for (i = 0; i < size; i++)
        printf(" %" PRId32, ids[i]);
    free(exact);
}
#endif

int main(int argc, char **argv)
{
    const char *const what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "draw") == 0)
        draw();
    else if (strcmp(what, "generate") == 0)
        generate();
    else if (strcmp(what, "exponentials") == 0)
        print_exponentials();
#ifdef WITH_TOKENIZER
    else if (strcmp(what, "encode") == 0)
        encode();
#endif
    else
        return 1;
    return 0;
}
