/* How do I stream text from a bundle in C?

   make BUNDLE=../../bundles/demo-c
   ./stream_text "def " 7 0.8 40 300     (the prompt, the seed, the temperature, top-k, and the number of tokens)

   Needs a C compiler and the model.c and model.h of a bundle whose vocabulary is of characters or bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static model_state state; /* of the network: what it remembers of the text */
static model_text text;   /* of the sampler: the random generator and the recent tokens */

static int print(int32_t token, void *user)
{
    int32_t length;
    const char *const bytes = model_token_text(token, &length);
    (void)user;
    fwrite(bytes, 1, (size_t)length, stdout);
    return fflush(stdout) != 0; /* stops the text where nobody reads it */
}

int main(int argc, char **argv)
{
    static int32_t prompt[4096];
    const int32_t room = sizeof prompt / sizeof *prompt, limit = argc > 5 ? atoi(argv[5]) : 300;
    const char *const given = argc > 1 ? argv[1] : "def ";
    const int32_t tokens = model_encode(given, strlen(given), prompt, (size_t)room);
    model_sampler sampler = model_plain_sampler();
    if (tokens < 0 || tokens > room) {
        fputs("the prompt is too long, or it has a character that the vocabulary lacks\n", stderr);
        return 2;
    }
    model_step_init(&state);
    model_begin(&text, argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    sampler.temperature = argc > 3 ? atof(argv[3]) : 0.8;
    sampler.top_k = argc > 4 ? atoi(argv[4]) : 40;
    fputs(given, stdout);
    if (model_generate(&state, &text, &sampler, prompt, tokens, limit, print, NULL) == MODEL_FAILED) {
        fputs("\nthe prompt is empty, or a setting is impossible\n", stderr);
        return 2;
    }
    putchar('\n');
    return 0;
}
