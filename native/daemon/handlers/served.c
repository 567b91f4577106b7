/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca._native.Server, and what `serve` and `run` make of a Python function: threads of serve.c's that bring each
 * question before it. A thread keeps its place in the interpreter as long as it lives, and holds the interpreter's lock
 * only while the function runs. One that raises answers nothing: that is reported, and the rules say what follows.
 */
#include "binding.h"

#include <errno.h>

#include "launch.h"
#include "serve.h"

enum { SERVE_STOP_MS = 2000 };

/* A handler says the same again and again, mostly by the same object. */
struct said {
	PyObject *verdict; /* whose members are numbers for ever; NULL: none yet */
	uint32_t kind;
	int64_t value;
};

struct served {
	struct server *server;
	PyObject *callback, *on_error;
	struct said last;
	int session_fd, error;
	unsigned threads;
	struct server_work work;
};

struct py_server {
	PyObject_HEAD
	struct served *served;
};

static PyTypeObject *server_type;
static __thread PyThreadState *thread_state;

static void thread_begin(void *with)
{
	(void)with;
	PyGILState_Ensure();
	thread_state = PyEval_SaveThread();
}

static void thread_end(void *with)
{
	(void)with;
	PyEval_RestoreThread(thread_state);
	PyGILState_Release(PyGILState_UNLOCKED);
}

/* The handler has raised: say so, to whoever wants to hear it. */
static void report(struct served *s, PyObject *request)
{
	PyObject *type, *value, *trace, *result;

	if (!s->on_error) {
		PyErr_WriteUnraisable(s->callback);
		return;
	}
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace)
		PyException_SetTraceback(value, trace);
	result = PyObject_CallFunctionObjArgs(s->on_error, request, value, NULL);
	if (!result)
		PyErr_WriteUnraisable(s->on_error);
	Py_XDECREF(result);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
}

/* (kind, value) from a handler; 0 with an exception if it is none. */
static int verdict(PyObject *from, uint32_t *kind, int64_t *value)
{
	long k;

	if (!PyTuple_Check(from) || PyTuple_Size(from) != 2) {
		PyErr_Format(PyExc_TypeError, "a handler returns (kind, value), not %R", from);
		return 0;
	}
	k = PyLong_AsLong(PyTuple_GetItem(from, 0));
	*value = PyLong_AsLongLong(PyTuple_GetItem(from, 1));
	if (PyErr_Occurred())
		return 0;
	if (k < ANSWER_GO_ON || k > ANSWER_KILL || (k == ANSWER_KILL && (*value < 1 || *value > 64)) ||
	    (k == ANSWER_RETURN && *value == -512)) {
		PyErr_Format(PyExc_ValueError, "%R is no answer to a call", from);
		return 0;
	}
	*kind = (uint32_t)k;
	return 1;
}

static int understand(struct served *s, PyObject *result, uint32_t *kind, int64_t *value)
{
	PyObject *before;

	if (result == s->last.verdict) {
		*kind = s->last.kind;
		*value = s->last.value;
		return 1;
	}
	if (!verdict(result, kind, value))
		return 0;
	if (PyLong_Check(PyTuple_GetItem(result, 0)) && PyLong_Check(PyTuple_GetItem(result, 1))) {
		before = s->last.verdict;
		Py_INCREF(result);
		s->last = (struct said){result, *kind, *value};
		Py_XDECREF(before);
	}
	return 1;
}

static void answer(void *with, struct question *q)
{
	struct served *s = with;
	PyObject *r, *result = NULL;
	uint32_t kind = ANSWER_GO_ON;
	int64_t value = 0;
	int good = 0;

	PyEval_RestoreThread(thread_state);
	r = request_new(q);
	if (r) {
		result = PyObject_CallFunctionObjArgs(s->callback, r, NULL);
		good = result && understand(s, result, &kind, &value);
	}
	if (!good) {
		kind = question_denies(q) ? ANSWER_RETURN : ANSWER_GO_ON;
		value = kind == ANSWER_RETURN ? -EPERM : 0;
		report(s, r ? r : Py_None);
	}
	question_answer(q, kind, value);
	if (r)
		request_over(r);
	Py_XDECREF(result);
	Py_XDECREF(r);
	thread_state = PyEval_SaveThread();
}

static struct served *served_new(int session_fd, PyObject *callback, PyObject *on_error, unsigned threads)
{
	struct served *s;

	if (!PyCallable_Check(callback) || (on_error != Py_None && !PyCallable_Check(on_error))) {
		PyErr_SetString(PyExc_TypeError, "a handler is a function");
		return NULL;
	}
	s = PyMem_Calloc(1, sizeof *s);
	if (!s)
		return (struct served *)PyErr_NoMemory();
	Py_INCREF(callback);
	s->callback = callback;
	if (on_error != Py_None) {
		Py_INCREF(on_error);
		s->on_error = on_error;
	}
	s->session_fd = session_fd;
	s->threads = threads;
	s->work = (struct server_work){thread_begin, answer, thread_end, s};
	return s;
}

/* An interpreter that ends lets no other thread come to its end: there is nothing to wait for. */
static long patience_ms(void)
{
	PyObject *ask = PySys_GetObject("is_finalizing"), *ends = ask ? PyObject_CallFunctionObjArgs(ask, NULL) : NULL;
	long ms = ends && ends == Py_False ? SERVE_STOP_MS : 0;

	Py_XDECREF(ends);
	PyErr_Clear();
	return ms;
}

/* Handlers that do not come to an end keep what they use; there is nothing else to be done about them. */
static void served_free(struct served *s)
{
	long ms = patience_ms();
	int left;

	Py_BEGIN_ALLOW_THREADS;
	left = s->server && serve_stop(s->server, ms);
	Py_END_ALLOW_THREADS;
	s->server = NULL;
	if (left)
		return;
	Py_XDECREF(s->callback);
	Py_XDECREF(s->on_error);
	Py_XDECREF(s->last.verdict);
	PyMem_Free(s);
}

static void served_begin(void *with)
{
	struct served *s = with;

	s->server = serve_start(s->session_fd, &s->work, s->threads);
	s->error = s->server ? 0 : errno;
}

struct served *served_for_run(struct plan *plan, PyObject *callback, PyObject *on_error, unsigned threads)
{
	struct served *s = served_new(plan->session_fd, callback, on_error, threads);

	if (s) {
		plan->forked = served_begin;
		plan->forked_with = s;
	}
	return s;
}

int served_end_run(struct served *s)
{
	int error = s->error;

	served_free(s);
	return error;
}

PyObject *py_serve(PyObject *self, PyObject *args, PyObject *named)
{
	static char *names[] = {"session", "callback", "threads", "on_error", NULL};
	PyObject *callback, *on_error = Py_None;
	unsigned threads = 64;
	struct py_server *made;
	struct served *s;
	int fd;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, named, "iO|$IO", names, &fd, &callback, &threads, &on_error))
		return NULL;
	s = served_new(fd, callback, on_error, threads);
	if (!s)
		return NULL;
	served_begin(s);
	if (!s->server) {
		int error = s->error;

		served_free(s);
		return request_error(-error);
	}
	made = PyObject_New(struct py_server, server_type);
	if (!made)
		served_free(s);
	else
		made->served = s;
	return (PyObject *)made;
}

static PyObject *server_stop(PyObject *self, PyObject *none)
{
	struct py_server *server = (struct py_server *)self;
	struct served *s = server->served;

	(void)none;
	server->served = NULL;
	if (s)
		served_free(s);
	Py_RETURN_NONE;
}

static void server_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(server_stop(self, NULL));
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyMethodDef server_methods[] = {
	{"stop", server_stop, METH_NOARGS, "stop() -> None"},
	{NULL, NULL, 0, NULL},
};

int served_types(PyObject *module)
{
	server_type = request_type_made(module, "lsca._native.Server", sizeof(struct py_server), server_dealloc,
					server_methods, NULL);
	return server_type ? 0 : -1;
}
