/* How tokens are drawn. The settings are those of the contract; NAME_plain_sampler returns them all switched off. */
typedef struct {
    double temperature;          /* logits are divided by it: at least 0.001, or 0 for the likeliest token */
    double top_p;                /* the likeliest tokens whose probabilities add up to it, above 0; 1 for all */
    double min_p;                /* the tokens at least this fraction as likely as the likeliest; 0 for all */
    double repetition_penalty;   /* makes recent tokens less likely, above 0; 1 for none */
    int32_t top_k;               /* the k likeliest tokens; 0 for all */
    int32_t repetition_window;   /* how many tokens are recent; with a penalty, at most NAME_HISTORY */
    const int32_t *bias_tokens;  /* tokens, and what is added to the logit of each: */
    const double *bias_values;   /* from -1e6 to 1e6, or -INFINITY, which forbids the token */
    int32_t biases;              /* the number of these tokens */
} NAME_sampler;

/* What a text carries from token to token beside the state of the network, and room to draw in. It holds no pointers:
   a text can be copied by assignment. */
typedef struct {
    uint64_t generator;              /* the state of SplitMix64 */
    int32_t recent[NAME_HISTORY];    /* the last tokens, a ring */
    int32_t recents;                 /* how many of them there are */
    int32_t next;                    /* the place in the ring of the next one */
    int32_t ready;                   /* whether `logits` are those of the next token */
    float logits[NAME_VOCABULARY];
    double weights[NAME_VOCABULARY]; /* the rest means nothing between two draws */
    double heap[NAME_VOCABULARY];
    int32_t kept[NAME_VOCABULARY];
} NAME_text;

/* Return the sampler that draws from all tokens, as likely as the network says. */
NAME_sampler NAME_plain_sampler(void);

/* Return whether all settings are possible. */
int NAME_possible(const NAME_sampler *sampler);

/* Begin a text: no tokens, and the random generator at its seed. */
void NAME_begin(NAME_text *text, uint64_t seed);

/* Count a token, from 0 to NAME_VOCABULARY - 1, that the network reads as the most recent one. */
void NAME_remember(NAME_text *text, int32_t token);

/* Draw a token from logits[NAME_VOCABULARY]. Return -1 where nothing can be drawn: a logit is NaN or infinity, every
   token is forbidden, or a setting is impossible. */
int32_t NAME_draw(const NAME_sampler *sampler, NAME_text *text, const float *logits);
