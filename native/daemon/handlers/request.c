/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca._native.Request: a question of a program's (question.c) as Python sees it. What an argument points to, parts.c
 * knows. The interpreter's lock is given away for whatever may wait. Types and meanings are described in
 * src/lsca/_native.pyi.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "launch.h"
#include "pack.h"
#include "parts.h"
#include "serve.h"

enum { MEMORY_MOST = 1 << 30 };

struct request {
	PyObject_HEAD
	struct question *q; /* NULL: it has been answered */
	struct question copy;
	PyObject *args;
};

static PyTypeObject *request_type;

PyObject *request_error(int64_t negative)
{
	errno = (int)-negative;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static struct question *question_of(PyObject *self)
{
	struct question *q = ((struct request *)self)->q;

	if (!q)
		PyErr_SetString(PyExc_RuntimeError, "this call has been answered; its request is over");
	return q;
}

/* An argument's number from Python; -1 with an exception. */
static int argument(const struct question *q, PyObject *number)
{
	long i = PyLong_AsLong(number);

	if (i == -1 && PyErr_Occurred())
		return -1;
	if (i < 0 || i >= parts_row(q)->nargs) {
		PyErr_Format(PyExc_IndexError, "call %d has no argument %ld", (int)q->nr, i);
		return -1;
	}
	return (int)i;
}

/* ---- what a Request can do --------------------------------------------------------------------------------------- */

static PyObject *request_string(PyObject *self, PyObject *number)
{
	struct question *q = question_of(self);
	char text[PACK_STRING + 1];
	const uint8_t *from;
	int64_t n;
	int i = q ? argument(q, number) : -1;

	if (i < 0)
		return NULL;
	n = question_copy(q, i, &from);
	if (n >= 0)
		return PyBytes_FromStringAndSize((const char *)from, n);
	if (!q->args[i])
		return PyBytes_FromStringAndSize("", 0);
	Py_BEGIN_ALLOW_THREADS;
	n = question_string(q, q->args[i], text, sizeof text);
	Py_END_ALLOW_THREADS;
	return n < 0 ? request_error(n) : PyBytes_FromStringAndSize(text, n);
}

static PyObject *request_memory(PyObject *self, PyObject *number)
{
	struct question *q = question_of(self);
	int i = q ? argument(q, number) : -1;
	const uint8_t *from;
	struct parts *p;
	PyObject *result;
	uint64_t want = 0;
	char *to;
	int64_t n;

	if (i < 0)
		return NULL;
	n = question_copy(q, i, &from);
	if (n >= 0 && (uint64_t)n == q->full[i] && parts_row(q)->args[i].kind != ARG_STRING)
		return PyBytes_FromStringAndSize((const char *)from, n);
	p = PyMem_Malloc(sizeof *p);
	if (!p)
		return PyErr_NoMemory();
	Py_BEGIN_ALLOW_THREADS;
	n = parts_find(q, i, p);
	if (n >= 0)
		want = parts_worth(q, i, p);
	Py_END_ALLOW_THREADS;
	if (n < 0 || want > MEMORY_MOST) {
		PyMem_Free(p);
		return request_error(n < 0 ? n : -EMSGSIZE);
	}
	result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)want);
	to = result ? PyBytes_AsString(result) : NULL;
	if (to) {
		Py_BEGIN_ALLOW_THREADS;
		n = parts_gather(q, p, to, want);
		Py_END_ALLOW_THREADS;
		if (n >= 0 && (uint64_t)n < want) {
			PyObject *less = PyBytes_FromStringAndSize(to, n);

			Py_DECREF(result);
			result = less;
		} else if (n < 0) {
			Py_CLEAR(result);
			request_error(n);
		}
	}
	PyMem_Free(p);
	return result;
}

static PyObject *request_read(PyObject *self, PyObject *args)
{
	struct question *q = question_of(self);
	unsigned long long addr;
	Py_ssize_t n;
	PyObject *result;
	int64_t got;
	char *to;

	if (!q || !PyArg_ParseTuple(args, "Kn", &addr, &n))
		return NULL;
	if (n < 0 || n > MEMORY_MOST) {
		PyErr_SetString(PyExc_ValueError, "between 0 bytes and 1 GiB can be read at once");
		return NULL;
	}
	result = PyBytes_FromStringAndSize(NULL, n);
	to = result ? PyBytes_AsString(result) : NULL;
	if (!to)
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	got = question_read(q, addr, to, (uint64_t)n);
	Py_END_ALLOW_THREADS;
	if (got < 0 || (!got && n)) {
		Py_DECREF(result);
		return request_error(got < 0 ? got : -EFAULT);
	}
	if (got < n) {
		PyObject *less = PyBytes_FromStringAndSize(to, got);

		Py_DECREF(result);
		result = less;
	}
	return result;
}

static PyObject *request_write(PyObject *self, PyObject *args)
{
	struct question *q = question_of(self);
	unsigned long long addr;
	PyObject *data;
	char *from;
	Py_ssize_t n;
	int64_t r;

	if (!q || !PyArg_ParseTuple(args, "KS", &addr, &data) || PyBytes_AsStringAndSize(data, &from, &n))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	r = question_write(q, addr, from, (uint64_t)n);
	Py_END_ALLOW_THREADS;
	if (r < 0 || (!r && n))
		return request_error(r < 0 ? r : -EFAULT);
	return PyLong_FromLongLong(r);
}

static PyObject *request_fill(PyObject *self, PyObject *args)
{
	struct question *q = question_of(self);
	PyObject *number, *data;
	struct parts *p;
	Py_ssize_t n;
	char *from;
	int64_t r;
	int i;

	if (!q || !PyArg_ParseTuple(args, "OS", &number, &data) || PyBytes_AsStringAndSize(data, &from, &n))
		return NULL;
	i = argument(q, number);
	p = i < 0 ? NULL : PyMem_Malloc(sizeof *p);
	if (!p)
		return i < 0 ? NULL : PyErr_NoMemory();
	Py_BEGIN_ALLOW_THREADS;
	r = parts_find(q, i, p);
	if (r >= 0 && !parts_are_output(p->kind) && p->kind != ARG_INOUT)
		r = -ENXIO;
	else if (r >= 0)
		r = parts_scatter(q, p, from, (uint64_t)n < p->total ? (uint64_t)n : p->total);
	Py_END_ALLOW_THREADS;
	if (r == -ENXIO && !parts_are_output(p->kind))
		PyErr_Format(PyExc_ValueError, "argument %d of call %d is not one that the call fills", i, (int)q->nr);
	else if (r < 0 || (!r && n && p->total))
		request_error(r < 0 ? r : -EFAULT);
	PyMem_Free(p);
	return PyErr_Occurred() ? NULL : PyLong_FromLongLong(r);
}

/* ---- proceed ----------------------------------------------------------------------------------------------------- */

static int replace_all(struct question *q, uint64_t *args, PyObject *replace)
{
	PyObject *number, *data;
	Py_ssize_t at = 0, n;
	char *from;
	int64_t r;

	if (!PyDict_Check(replace)) {
		PyErr_SetString(PyExc_TypeError, "replace is a dict of argument numbers and bytes");
		return -1;
	}
	while (PyDict_Next(replace, &at, &number, &data)) {
		int i = argument(q, number);

		if (i < 0 || PyBytes_AsStringAndSize(data, &from, &n))
			return -1;
		Py_BEGIN_ALLOW_THREADS;
		r = parts_replace(q, args, i, from, (uint64_t)n);
		Py_END_ALLOW_THREADS;
		if (r == -ENXIO) {
			PyErr_Format(PyExc_ValueError,
				     "argument %d of call %d points to nothing that the call only reads", i,
				     (int)q->nr);
			return -1;
		}
		if (r < 0) {
			request_error(r);
			return -1;
		}
	}
	return 0;
}

static int given_args(PyObject *from, uint64_t *to)
{
	Py_ssize_t n = PySequence_Size(from);

	if (n < 0 || n > CALL_ARGS) {
		if (n > CALL_ARGS)
			PyErr_SetString(PyExc_ValueError, "a call has at most six arguments");
		return -1;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		PyObject *one = PySequence_GetItem(from, i);

		to[i] = one ? PyLong_AsUnsignedLongLongMask(one) : 0;
		Py_XDECREF(one);
		if (PyErr_Occurred())
			return -1;
	}
	return 0;
}

static PyObject *request_proceed(PyObject *self, PyObject *positional, PyObject *named)
{
	static char *names[] = {"args", "replace", "signal", NULL};
	struct question *q = question_of(self);
	PyObject *args = Py_None, *replace = Py_None;
	uint64_t given[CALL_ARGS];
	unsigned signal = 0;
	int64_t r;

	if (!q || !PyArg_ParseTupleAndKeywords(positional, named, "|OOI", names, &args, &replace, &signal))
		return NULL;
	if (q->flags & (ASK_ASIDE | ASK_WATCHED)) {
		PyErr_Format(PyExc_NotImplementedError, "call %d %s; a handler cannot have it made", (int)q->nr,
			     q->flags & ASK_WATCHED ? "does not return" : "is made in the program's own context");
		return NULL;
	}
	memcpy(given, q->args, sizeof given);
	if (args != Py_None && given_args(args, given))
		return NULL;
	if (replace != Py_None && replace_all(q, given, replace))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	r = question_proceed(q, given, signal);
	Py_END_ALLOW_THREADS;
	if (r < 0 && q->gone)
		return request_error(-ESRCH);
	return PyLong_FromLongLong(r);
}

static PyObject *request_open(PyObject *self, PyObject *args)
{
	struct question *q = question_of(self);
	int fd, flags;
	int64_t r;

	if (!q || !PyArg_ParseTuple(args, "ii", &fd, &flags))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	r = question_open(q, fd, flags);
	Py_END_ALLOW_THREADS;
	return r < 0 ? request_error(r) : PyLong_FromLongLong(r);
}

static PyObject *request_wait(PyObject *self, PyObject *seconds)
{
	struct question *q = question_of(self);
	double s = PyFloat_AsDouble(seconds);
	int r;

	if (!q || (s == -1.0 && PyErr_Occurred()))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	r = question_wait(q, s);
	Py_END_ALLOW_THREADS;
	return PyBool_FromLong(r);
}

static PyObject *request_interrupted(PyObject *self, void *closure)
{
	struct question *q = ((struct request *)self)->q;

	(void)closure;
	return PyBool_FromLong(!q || question_is_interrupted(q));
}

static PyObject *request_args(PyObject *self, void *closure)
{
	struct request *r = (struct request *)self;
	const uint64_t *a = r->copy.args;

	(void)closure;
	if (!r->args)
		r->args = Py_BuildValue("(KKKKKK)", (unsigned long long)a[0], (unsigned long long)a[1],
					(unsigned long long)a[2], (unsigned long long)a[3], (unsigned long long)a[4],
					(unsigned long long)a[5]);
	Py_XINCREF(r->args);
	return r->args;
}

static PyObject *request_number(PyObject *self, void *closure)
{
	return PyLong_FromUnsignedLong(*(uint32_t *)((char *)self + (size_t)closure));
}

static PyObject *request_nr(PyObject *self, void *closure)
{
	(void)closure;
	return PyLong_FromUnsignedLongLong(((struct request *)self)->copy.nr);
}

static PyObject *request_asked(PyObject *self, void *closure)
{
	const struct question *q = &((struct request *)self)->copy;

	(void)closure;
	return PyLong_FromUnsignedLongLong(q->nr << 32 | q->rule);
}

static void request_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(((struct request *)self)->args);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyMethodDef request_methods[] = {
	{"string", request_string, METH_O, "string(argument) -> bytes"},
	{"memory", request_memory, METH_O, "memory(argument) -> bytes"},
	{"read", request_read, METH_VARARGS, "read(address, count) -> bytes"},
	{"write", request_write, METH_VARARGS, "write(address, data) -> count"},
	{"fill", request_fill, METH_VARARGS, "fill(argument, data) -> count"},
	{"proceed", (PyCFunction)(void (*)(void))request_proceed, METH_VARARGS | METH_KEYWORDS,
	 "proceed(args=None, replace=None, signal=0) -> result"},
	{"open", request_open, METH_VARARGS, "open(descriptor, flags) -> the program's descriptor"},
	{"wait", request_wait, METH_O, "wait(seconds) -> whether it was interrupted"},
	{NULL, NULL, 0, NULL},
};

#define NUMBER(name) {#name, request_number, NULL, NULL, (void *)offsetof(struct request, copy.name)}

static PyGetSetDef request_members[] = {
	{"nr", request_nr, NULL, NULL, NULL},
	{"args", request_args, NULL, NULL, NULL},
	NUMBER(pid),
	NUMBER(tid),
	NUMBER(rule),
	{"asked", request_asked, NULL, NULL, NULL},
	{"interrupted", request_interrupted, NULL, NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

/* ---- the type ---------------------------------------------------------------------------------------------------- */

PyObject *request_new(struct question *q)
{
	struct request *r = PyObject_New(struct request, request_type);

	if (!r)
		return NULL;
	r->q = q;
	r->copy = *q;
	r->args = NULL;
	return (PyObject *)r;
}

/* Whoever has kept it finds it over. */
void request_over(PyObject *self)
{
	((struct request *)self)->q = NULL;
}

PyTypeObject *request_type_made(PyObject *module, const char *name, int size, destructor dealloc, PyMethodDef *methods,
			      PyGetSetDef *members)
{
	PyType_Slot slots[] = {
		{Py_tp_dealloc, (void *)dealloc},
		{Py_tp_methods, methods},
		{members ? Py_tp_getset : 0, members},
		{0, NULL},
	};
	PyType_Spec spec = {name, size, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
	PyObject *type = PyType_FromSpec(&spec);

	if (type && PyModule_AddObjectRef(module, strrchr(name, '.') + 1, type))
		Py_CLEAR(type);
	return (PyTypeObject *)type;
}

int request_types(PyObject *module)
{
	request_type = request_type_made(module, "lsca._native.Request", sizeof(struct request), request_dealloc,
					 request_methods, request_members);
	return request_type ? 0 : -1;
}
