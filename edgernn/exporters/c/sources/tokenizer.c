#include "NAME.h"

/* No token's text begins another's, so at most one token begins a text. Return 0 if it is this one; otherwise below or
   above 0, as the text comes before or after the token's in the order of bytes. */
static int compare(const unsigned char *text, size_t length, int32_t token)
{
    const unsigned char *const own = token_texts + token_starts[token];
    const size_t size = (size_t)(token_starts[token + 1] - token_starts[token]);
    size_t i;
    for (i = 0; i < size; i++) {
        if (i == length)
            return -1;
        if (text[i] != own[i])
            return text[i] < own[i] ? -1 : 1;
    }
    return 0;
}

/* Return the token that begins a text, or -1. */
static int32_t first_token(const unsigned char *text, size_t length)
{
    size_t low = 0, high = sizeof tokens_in_order / sizeof *tokens_in_order;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int32_t token = tokens_in_order[middle];
        const int order = compare(text, length, token);
        if (order == 0)
            return token;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

const char *NAME_token_text(int32_t token, int32_t *length)
{
    if (token < 0 || token >= NAME_VOCABULARY)
        return 0;
    *length = (int32_t)(token_starts[token + 1] - token_starts[token]);
    return (const char *)token_texts + token_starts[token];
}

int32_t NAME_encode(const char *utf8, size_t length, int32_t *tokens, size_t room)
{
    const unsigned char *const text = (const unsigned char *)utf8;
    size_t at = 0;
    int32_t count = 0;
    if (length > INT32_MAX)
        return -1;
    while (at < length) {
        const int32_t token = first_token(text + at, length - at);
        if (token < 0)
            return -1 - (int32_t)at;
        if ((size_t)count < room)
            tokens[count] = token;
        count++;
        at += (size_t)(token_starts[token + 1] - token_starts[token]);
    }
    return count;
}
