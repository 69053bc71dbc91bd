/* Where does someone speak in a recording?

   make voice_activity VOICE=../../bundles/silero-c
   ./voice_activity speech.wav               (the segments with speech, in seconds)
   ./voice_activity speech.wav steps         (the probability of speech in each step of 32 ms)

   Needs a C compiler, the silero.c and silero.h of the adopted Silero voice detector, and a WAV file of 16 bits, one
   channel and 16,000 samples a second. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "silero.h"

enum { RATE = 16000, SAMPLES = 512 };
static const float BEGINS = 0.5f, ENDS = 0.35f; /* the probabilities at which a segment begins, and may end */
static const int SILENCE = 4;                   /* the steps below ENDS after which it ends: 128 ms */

static silero_step_state state; /* what the network remembers, and the last 64 samples, which it reads again */

static uint32_t little_endian(const unsigned char *bytes, int count)
{
    uint32_t value = 0;
    while (count-- > 0)
        value = value << 8 | bytes[count];
    return value;
}

/* Reads up to the samples. Returns their size in bytes, or 0 for a file of another kind. */
static uint32_t open_samples(FILE *file)
{
    unsigned char head[12], chunk[8], format[16];
    int known = 0;
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0)
        return 0;
    while (fread(chunk, 1, 8, file) == 8) {
        uint32_t size = little_endian(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0)
            return known ? size : 0;
        size += size % 2; /* chunks begin at even places */
        if (memcmp(chunk, "fmt ", 4) == 0 && size >= 16 && fread(format, 1, 16, file) == 16) {
            known = little_endian(format, 2) == 1 && little_endian(format + 2, 2) == 1 &&
                    little_endian(format + 4, 4) == RATE && little_endian(format + 14, 2) == 16;
            size -= 16;
        }
        for (; size > 0; size--)
            if (fgetc(file) == EOF)
                return 0;
    }
    return 0;
}

/* Reads the samples of a step, as numbers from -1 to 1, and zeros after the last one. Returns how many there were. */
static int read_step(FILE *file, uint32_t *left, float *samples)
{
    unsigned char bytes[2 * SAMPLES];
    const size_t wanted = *left < sizeof bytes ? *left : sizeof bytes;
    const int count = (int)(fread(bytes, 1, wanted, file) / 2);
    int i;
    for (i = 0; i < SAMPLES; i++) {
        const int32_t value = i < count ? (int32_t)little_endian(bytes + 2 * i, 2) : 0;
        samples[i] = (float)(value < 32768 ? value : value - 65536) / 32768.0f;
    }
    *left -= (uint32_t)wanted;
    return count;
}

int main(int argc, char **argv)
{
    static float samples[SAMPLES];
    const int steps = argc == 3 && strcmp(argv[2], "steps") == 0;
    const double seconds = (double)SAMPLES / RATE;
    FILE *const file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    uint32_t left = file ? open_samples(file) : 0;
    int step = 0, begun = -1, silent = 0;
    if (left == 0 || (argc != 2 && !steps)) {
        fputs("give a WAV file of 16 bits, one channel and 16,000 samples a second, and steps for probabilities\n", stderr);
        return 2;
    }
    silero_step_init(&state);
    for (; read_step(file, &left, samples) > 0; step++) {
        float speech;
        silero_step(&state, samples, &speech);
        if (steps)
            printf("%.3f %.6f\n", step * seconds, (double)speech);
        if (begun < 0 && speech >= BEGINS)
            begun = step;
        silent = speech < ENDS ? silent + 1 : 0;
        if (begun >= 0 && silent == SILENCE) {
            if (!steps)
                printf("%.3f to %.3f s\n", begun * seconds, (step + 1 - SILENCE) * seconds);
            begun = -1;
        }
    }
    if (begun >= 0 && !steps)
        printf("%.3f to %.3f s\n", begun * seconds, (step - silent) * seconds);
    fclose(file);
    return 0;
}
