package org.edgernn.text;

import java.nio.ByteBuffer;

/** The functions of edge_text.h, through edge_text_jni.c. Use {@link EdgeText}, which checks what they return. */
final class NativeText {
    static {
        System.loadLibrary("edge_text");
    }

    private NativeText() {}

    /** What {@link #generate} calls with the text that tokens complete. */
    interface Take {
        /** Reads a part of the text as UTF-8. Returns whether the text goes on. */
        boolean take(byte[] utf8);
    }

    /** Returns the handle of a text, or 0. weights: the content of model.bin in a direct buffer, or null. */
    static native long open(ByteBuffer weights);

    static native void close(long text);

    static native void begin(long text, long seed);

    static native int sample(long text, double temperature, int topK);

    static native int read(long text, byte[] utf8);

    static native int generate(long text, int limit, Take take);

    static native byte[] snapshot(long text);

    static native int restore(long text, byte[] bytes);
}
