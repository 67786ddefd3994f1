/*
 * Where there is no memory, the process ends: with a line that says so, and exit status 111, try again.
 *
 * Killed anywhere, started again, same end: that holds for every process of ours and is tested at each call. So
 * nothing better can be done without memory than to end there, and nothing worse than to go on with a document
 * that lacks a member because it did not fit: it might be taken for intent that lacks it. jansson, whose
 * json_object_set_new() fails without a word, libuv, which aborts, libseccomp, which never comes back, and a
 * getline() that takes it for the end of a file all ask by the C library's names, and so come here first.
 *
 * Not under a sanitizer, which has an allocator of its own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <intent/log.h>

#if defined(__has_feature)
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !HAS(address_sanitizer) && \
	!HAS(thread_sanitizer) && !HAS(memory_sanitizer)

static struct {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *pointer, size_t size);
} next;

/* On first use: somebody asks before any constructor of ours has run. */
static void find(void)
{
	*(void **)&next.malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&next.calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next.realloc = dlsym(RTLD_NEXT, "realloc");
}

/* 0 bytes may be answered by NULL. */
static void *found(void *pointer, size_t size)
{
	static _Thread_local bool ending;

	if (pointer || !size || ending)
		return pointer;
	ending = true;
	intent_log_no_memory(size);
	_exit(INTENT_EXIT_NO_MEMORY);
}

void *malloc(size_t size)
{
	if (!next.malloc)
		find();
	return found(next.malloc(size), size);
}

void *calloc(size_t count, size_t size)
{
	if (!next.calloc)
		find();
	return found(next.calloc(count, size), count ? size : 0);
}

void *realloc(void *pointer, size_t size)
{
	if (!next.realloc)
		find();
	return found(next.realloc(pointer, size), size);
}

void *reallocarray(void *pointer, size_t count, size_t size)
{
	size_t whole;

	if (__builtin_mul_overflow(count, size, &whole))
		return found(NULL, SIZE_MAX);
	return realloc(pointer, whole);
}

#endif
