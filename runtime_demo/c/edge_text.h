/* Text from a language model in C, behind functions that other languages can call: a text is one pointer, texts are
   UTF-8, and a snapshot is an array of bytes. The app for Android calls them through JNI, and the app for iOS from Swift.

   They need the model.c and model.h of a bundle whose vocabulary is of characters or bytes. If the bundle has a
   model.bin, compile edge_text.c with EDGE_TEXT_BLOB defined. A text is used by one thread at a time. */
#ifndef EDGE_TEXT_H
#define EDGE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct edge_text edge_text;

enum {
    EDGE_TEXT_AT_END = -1, /* the network predicted the end of the text */
    EDGE_TEXT_FAILED = -2, /* no prompt was read yet, or the network gave no number */
    EDGE_TEXT_STOPPED = -3, /* the function `take` stopped the text */
    EDGE_TEXT_NO_MEMORY = INT32_MIN
};

/* Returns a text that has not begun, at seed 0, temperature 0.8 and top-k 40. Returns NULL if there is no memory, or if
   the weights are not those of the network.

   weights, size: the content of model.bin, aligned to 8 bytes, which must stay in memory until the text is closed. NULL
   and 0 if the weights are in model.c. */
edge_text *edge_text_open(const void *weights, size_t size);

/* Frees a text. It may be NULL. */
void edge_text_close(edge_text *text);

/* Begins anew: the network is in its first state, and the random generator at its seed. */
void edge_text_begin(edge_text *text, uint64_t seed);

/* Sets how the next tokens are drawn. Returns 0, or -1 if a setting is impossible, which then changes nothing.

   temperature: at least 0.001, or 0 for the likeliest token. top_k: how many of the likeliest tokens are drawn from; 0
   for all. */
int edge_text_sample(edge_text *text, double temperature, int32_t top_k);

/* Reads a prompt, or more of it. Returns 0; or -1 - i if the vocabulary lacks the character that begins at byte i, or
   EDGE_TEXT_NO_MEMORY, and then reads nothing.

   utf8, length: the text, of at most 2^31 - 2 bytes. */
int32_t edge_text_read(edge_text *text, const char *utf8, size_t length);

/* Draws a token, reads it, and returns the number of bytes of the text that it completes: 0 in the middle of a character
   of several tokens. Returns EDGE_TEXT_AT_END or EDGE_TEXT_FAILED at the end.

   utf8: is set to these bytes, which are whole characters. They are valid until the next call, and no zero ends them. */
int32_t edge_text_next(edge_text *text, const char **utf8);

/* Draws `limit` tokens, or tokens without end if it is negative, and hands the text that they complete to `take`. It can
   return anything but 0 to stop the text, which can go on with the next call. Returns 0 at the limit, and otherwise
   EDGE_TEXT_AT_END, EDGE_TEXT_STOPPED or EDGE_TEXT_FAILED. */
int32_t edge_text_generate(edge_text *text, int32_t limit, int (*take)(const char *utf8, int32_t length, void *user),
                           void *user);

/* Returns the number of bytes of a snapshot. */
size_t edge_text_snapshot_size(void);

/* Writes the text as bytes: the states of the network, the random generator, the recent tokens and the settings. The
   next token after a restore is the one after the snapshot. The bytes are for the same network, compiled alike. */
void edge_text_snapshot(const edge_text *text, void *bytes);

/* Continues a text from a snapshot. Returns 0; or -1 if the bytes are damaged or of another network, which changes
   nothing. */
int edge_text_restore(edge_text *text, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif
