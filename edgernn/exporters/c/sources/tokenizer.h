/* Return the bytes of a token's text, which no zero ends, and their number; null for a token outside the vocabulary. In
   a vocabulary of bytes they are one byte, which can be a part of a character. */
const char *NAME_token_text(int32_t token, int32_t *length);

/* Encode a text of at most 2^31 - 1 bytes. Return the number of its tokens, of which the first `room` are written, so
   that a room of 0 counts them; or -1 - i if the vocabulary lacks the character that begins at byte i. */
int32_t NAME_encode(const char *utf8, size_t length, int32_t *tokens, size_t room);
