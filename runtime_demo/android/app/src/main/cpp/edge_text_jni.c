/* The native functions of NativeText.java. */
#include <jni.h>
#include <stdlib.h>

#include "edge_text.h"

#define NATIVE(result, name) JNIEXPORT result JNICALL Java_org_edgernn_text_NativeText_##name

/* What is called with the text that tokens complete. */
typedef struct {
    JNIEnv *env;
    jobject object;
    jmethodID method;
} callback;

static edge_text *text_of(jlong handle)
{
    return (edge_text *)(intptr_t)handle;
}

NATIVE(jlong, open)(JNIEnv *env, jclass self, jobject weights)
{
    const void *const bytes = weights ? (*env)->GetDirectBufferAddress(env, weights) : NULL;
    const jlong size = weights ? (*env)->GetDirectBufferCapacity(env, weights) : 0;
    (void)self;
    return (jlong)(intptr_t)edge_text_open(bytes, size > 0 ? (size_t)size : 0);
}

NATIVE(void, close)(JNIEnv *env, jclass self, jlong handle)
{
    (void)env;
    (void)self;
    edge_text_close(text_of(handle));
}

NATIVE(void, begin)(JNIEnv *env, jclass self, jlong handle, jlong seed)
{
    (void)env;
    (void)self;
    edge_text_begin(text_of(handle), (uint64_t)seed);
}

NATIVE(jint, sample)(JNIEnv *env, jclass self, jlong handle, jdouble temperature, jint top_k)
{
    (void)env;
    (void)self;
    return edge_text_sample(text_of(handle), temperature, top_k);
}

NATIVE(jint, read)(JNIEnv *env, jclass self, jlong handle, jbyteArray utf8)
{
    const jsize length = (*env)->GetArrayLength(env, utf8);
    jbyte *const bytes = (*env)->GetByteArrayElements(env, utf8, NULL);
    jint result;
    (void)self;
    if (!bytes)
        return EDGE_TEXT_NO_MEMORY;
    result = edge_text_read(text_of(handle), (const char *)bytes, (size_t)length);
    (*env)->ReleaseByteArrayElements(env, utf8, bytes, JNI_ABORT);
    return result;
}

static jbyteArray array_of(JNIEnv *env, const void *bytes, jsize length)
{
    const jbyteArray array = (*env)->NewByteArray(env, length);
    if (array)
        (*env)->SetByteArrayRegion(env, array, 0, length, (const jbyte *)bytes);
    return array;
}

/* Hands a part of the text to Java. An exception there, or no memory, stops the text. */
static int take(const char *utf8, int32_t length, void *user)
{
    const callback *const to = user;
    JNIEnv *const env = to->env;
    const jbyteArray array = array_of(env, utf8, length);
    jboolean on;
    if (!array)
        return 1;
    on = (*env)->CallBooleanMethod(env, to->object, to->method, array);
    (*env)->DeleteLocalRef(env, array);
    return !on || (*env)->ExceptionCheck(env);
}

NATIVE(jint, generate)(JNIEnv *env, jclass self, jlong handle, jint limit, jobject object)
{
    callback to;
    (void)self;
    to.env = env;
    to.object = object;
    to.method = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, object), "take", "([B)Z");
    return to.method ? edge_text_generate(text_of(handle), limit, take, &to) : EDGE_TEXT_FAILED;
}

NATIVE(jbyteArray, snapshot)(JNIEnv *env, jclass self, jlong handle)
{
    const size_t size = edge_text_snapshot_size();
    void *const bytes = malloc(size);
    jbyteArray array = NULL;
    (void)self;
    if (bytes) {
        edge_text_snapshot(text_of(handle), bytes);
        array = array_of(env, bytes, (jsize)size);
    }
    free(bytes);
    return array;
}

NATIVE(jint, restore)(JNIEnv *env, jclass self, jlong handle, jbyteArray array)
{
    const jsize size = (*env)->GetArrayLength(env, array);
    jbyte *const bytes = (*env)->GetByteArrayElements(env, array, NULL);
    int result;
    (void)self;
    if (!bytes)
        return EDGE_TEXT_NO_MEMORY;
    result = edge_text_restore(text_of(handle), bytes, (size_t)size);
    (*env)->ReleaseByteArrayElements(env, array, bytes, JNI_ABORT);
    return result;
}
