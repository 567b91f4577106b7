/* SPDX-License-Identifier: Apache-2.0 */
/* What Python may ask of posted writes' memory: make it, count, finish what is left. See src/lsca/_native.pyi. */
#include "binding.h"

#include "poster.h"

/* A descriptor: of the memory of posted writes. */
static PyObject *py_post_create(PyObject *self, PyObject *args)
{
	const char *patterns;
	unsigned after;
	Py_ssize_t size;
	int sync, fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "y#pI", &patterns, &size, &sync, &after))
		return NULL;
	fd = post_create(patterns, (uint32_t)(size < POST_TEXT ? size : POST_TEXT + 1), sync ? POST_SYNC : 0, after);
	return fd < 0 ? request_error(fd) : PyLong_FromLong(fd);
}

static PyObject *py_post_remove(PyObject *self, PyObject *args)
{
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "i", &fd))
		return NULL;
	post_remove(fd);
	Py_RETURN_NONE;
}

static PyObject *py_post_stats(PyObject *self, PyObject *args)
{
	uint64_t writes, bytes, files;
	struct post_head *h;
	PyObject *result;
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "i", &fd))
		return NULL;
	h = post_open(fd);
	if (!h)
		return request_error(-EINVAL);
	post_totals(h, &writes, &bytes, &files);
	result = Py_BuildValue("{sKsKsKsKsKsKsKsI}", "writes", (unsigned long long)writes, "bytes",
			       (unsigned long long)bytes, "files", (unsigned long long)files, "waiting",
			       (unsigned long long)post_waiting(h, 0), "calls", (unsigned long long)h->calls, "lost",
			       (unsigned long long)h->lost, "recovered", (unsigned long long)h->recovered, "poster",
			       h->poster);
	post_close(h);
	return result;
}

/* What was left by runs of which nobody is left. */
static PyObject *py_post_recover(PyObject *self, PyObject *none)
{
	struct post_left left[16];
	PyObject *list = PyList_New(0);
	int n;

	(void)self;
	(void)none;
	Py_BEGIN_ALLOW_THREADS;
	n = post_recover(left, 16);
	Py_END_ALLOW_THREADS;
	for (int i = 0; list && i < n; i++) {
		PyObject *one = Py_BuildValue("(sKK)", left[i].name, (unsigned long long)left[i].bytes,
					      (unsigned long long)left[i].lost);

		if (!one || PyList_Append(list, one))
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	return list;
}

static PyMethodDef functions[] = {
	{"post_create", py_post_create, METH_VARARGS, "post_create(patterns, sync, after) -> descriptor"},
	{"post_remove", py_post_remove, METH_VARARGS, "post_remove(descriptor)"},
	{"post_stats", py_post_stats, METH_VARARGS, "post_stats(descriptor) -> dict"},
	{"post_recover", py_post_recover, METH_NOARGS, "post_recover() -> [(name, bytes, lost)]"},
	{NULL, NULL, 0, NULL},
};

int posted_functions(PyObject *to)
{
	return PyModule_AddFunctions(to, functions);
}
