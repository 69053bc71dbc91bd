package org.edgernn.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Streams text through the functions of edge_text_jni.c: PROMPT SEED TEMPERATURE TOP_K TOKENS [model.bin]. */
final class StreamText {
    public static void main(String[] given) throws IOException {
        ByteBuffer weights = given.length > 5 ? weights(given[5]) : null;
        int limit = Integer.parseInt(given[4]);
        long text = open(weights), other = open(weights);
        NativeText.begin(text, Long.parseUnsignedLong(given[1]));
        check(NativeText.sample(text, Double.parseDouble(given[2]), Integer.parseInt(given[3])) == 0);
        check(NativeText.read(text, given[0].getBytes(StandardCharsets.UTF_8)) == 0);
        check(NativeText.generate(text, limit / 2, StreamText::print) == 0);
        byte[] snapshot = NativeText.snapshot(text);
        refuse(text);
        check(NativeText.restore(other, snapshot) == 0);
        NativeText.close(text);
        check(NativeText.generate(other, limit - limit / 2, StreamText::print) == 0);
        snapshot[100] ^= 1;
        check(NativeText.restore(other, snapshot) == -1);
        NativeText.close(other);
        System.out.flush();
    }

    private static ByteBuffer weights(String file) throws IOException {
        byte[] bytes = Files.readAllBytes(Path.of(file));
        check(NativeText.open(ByteBuffer.allocateDirect(bytes.length)) == 0);
        return ByteBuffer.allocateDirect(bytes.length).put(bytes);
    }

    private static long open(ByteBuffer weights) {
        long text = NativeText.open(weights);
        check(text != 0);
        return text;
    }

    private static boolean print(byte[] utf8) {
        System.out.write(utf8, 0, utf8.length);
        return true;
    }

    private static void refuse(long text) {
        check(NativeText.sample(text, -1, 0) == -1);
        check(NativeText.read(text, new byte[] {'f', 'o', 'x', 1}) == -4);
        check(NativeText.generate(text, -1, utf8 -> false) == -3);
        try {
            NativeText.generate(text, -1, utf8 -> {
                throw new IllegalStateException("of the function");
            });
            check(false);
        } catch (IllegalStateException error) {
            check(error.getMessage().equals("of the function"));
        }
    }

    private static void check(boolean holds) {
        if (!holds) {
            throw new AssertionError();
        }
    }
}
