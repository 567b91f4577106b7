/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca._log: what Python may ask of a log. Converts arguments and results and nothing else; types and meanings are
 * described in src/lsca/_log.pyi. A log's lock is taken here, and never while Python code could run.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arrow.h"
#include "records.h"
#include "resolve.h"

struct py_log {
	PyObject_HEAD
	struct logfile *l;
};

struct py_records {
	PyObject_HEAD
	struct logfile *l;
	struct records *r;
};

static PyObject *records_type;

/* ---- records ---------------------------------------------------------------------------------------------------- */

static void py_records_free(PyObject *self)
{
	struct py_records *p = (struct py_records *)self;
	PyTypeObject *type = Py_TYPE(self);

	if (p->r) {
		logfile_lock(p->l);
		records_free(p->r); /* the log itself is kept below */
		logfile_unlock(p->l);
	}
	if (p->l)
		logfile_drop(p->l);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *pieces_tuple(const struct record_view *v)
{
	PyObject *all = PyTuple_New(v->shape->pieces);

	for (int k = 0; all && k < v->shape->pieces; k++) {
		PyObject *one = Py_BuildValue("(iiy#I)", v->shape->piece[k].arg, v->shape->piece[k].flags,
					      (const char *)v->pieces[k].bytes, (Py_ssize_t)v->pieces[k].len, v->full[k]);

		if (!one || PyTuple_SetItem(all, k, one))
			Py_CLEAR(all);
	}
	return all;
}

static PyObject *py_records_next(PyObject *self)
{
	struct py_records *p = (struct py_records *)self;
	struct record_view v;
	int64_t start, end;
	int got;

	logfile_lock(p->l);
	got = records_next(p->r, &v);
	logfile_unlock(p->l);
	if (got < 0)
		return PyErr_NoMemory();
	if (!got)
		return NULL;
	start = logfile_real_ns(v.s, v.start);
	end = logfile_real_ns(v.s, v.start + v.took);
	return Py_BuildValue("(iiiiIIKKLLL(KKKKKK)NIKKI)", v.shape->nr, v.shape->kind, v.shape->route, v.shape->flags,
			     v.run->pid, v.run->tid, v.run->thread, v.seq, start, end, v.ret, v.args[0], v.args[1],
			     v.args[2], v.args[3], v.args[4], v.args[5], pieces_tuple(&v), v.s->run, v.start,
			     v.start + v.took, v.s->header->machine);
}

/* A list of integers as numbers; NULL with an exception, or for None. */
static uint64_t *numbers(PyObject *list, size_t *count)
{
	Py_ssize_t n = list == Py_None ? 0 : PyList_Size(list);
	uint64_t *to = n < 0 ? NULL : PyMem_Malloc(((size_t)n + 1) * sizeof *to);

	if (n >= 0 && !to)
		PyErr_NoMemory();
	for (Py_ssize_t i = 0; to && i < n; i++) {
		to[i] = PyLong_AsUnsignedLongLongMask(PyList_GetItem(list, i));
		if (PyErr_Occurred()) {
			PyMem_Free(to);
			return NULL;
		}
	}
	*count = (size_t)n;
	return to;
}

static PyObject *py_log_records(PyObject *self, PyObject *args)
{
	struct py_log *log = (struct py_log *)self;
	PyObject *ids_list, *after_list;
	struct record_filter f = {0};
	uint64_t *ids = NULL, *after = NULL;
	uint32_t *short_ids = NULL;
	struct py_records *p = NULL;
	const char *calls;
	Py_ssize_t size;
	size_t after_count = 0;

	if (!PyArg_ParseTuple(args, "y#ppOO", &calls, &size, &f.others, &f.events, &ids_list, &after_list))
		return NULL;
	if (size != CALL_LIMIT) {
		PyErr_Format(PyExc_ValueError, "%d bytes are wanted, one for each call", CALL_LIMIT);
		return NULL;
	}
	memcpy(f.calls, calls, CALL_LIMIT);
	ids = numbers(ids_list, &f.id_count);
	after = ids ? numbers(after_list, &after_count) : NULL;
	if (!after)
		goto out;
	short_ids = malloc((f.id_count + 1) * sizeof *short_ids);
	for (size_t i = 0; short_ids && i < f.id_count; i++)
		short_ids[i] = (uint32_t)ids[i];
	f.ids = ids_list == Py_None ? NULL : short_ids;
	p = short_ids ? PyObject_New(struct py_records, (PyTypeObject *)records_type) : (void *)PyErr_NoMemory();
	if (!p)
		goto out;
	logfile_keep(log->l);
	p->l = log->l;
	Py_BEGIN_ALLOW_THREADS;
	logfile_lock(log->l);
	p->r = records_new(log->l, &f, after, after_count);
	logfile_unlock(log->l);
	Py_END_ALLOW_THREADS;
	if (!p->r) {
		Py_CLEAR(p);
		PyErr_NoMemory();
	}
out:
	PyMem_Free(ids);
	PyMem_Free(after);
	free(short_ids);
	return (PyObject *)p;
}

/* ---- the log ---------------------------------------------------------------------------------------------------- */

static PyObject *py_log_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
	struct py_log *log;

	(void)args;
	(void)named;
	log = (struct py_log *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (log && !(log->l = logfile_new())) {
		Py_CLEAR(log);
		return PyErr_NoMemory();
	}
	return (PyObject *)log;
}

static void py_log_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	if (((struct py_log *)self)->l)
		logfile_drop(((struct py_log *)self)->l);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *py_log_add(PyObject *self, PyObject *args)
{
	struct logfile *l = ((struct py_log *)self)->l;
	const char *path, *problem;
	int e;

	if (!PyArg_ParseTuple(args, "y", &path))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	logfile_lock(l);
	e = logfile_add(l, path, &problem);
	logfile_unlock(l);
	Py_END_ALLOW_THREADS;
	if (e < 0) {
		errno = -e;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return e ? PyUnicode_FromString(problem) : Py_NewRef(Py_None);
}

static PyObject *py_log_refresh(PyObject *self, PyObject *none)
{
	struct logfile *l = ((struct py_log *)self)->l;
	int grown;

	(void)none;
	Py_BEGIN_ALLOW_THREADS;
	logfile_lock(l);
	grown = logfile_refresh(l);
	logfile_unlock(l);
	Py_END_ALLOW_THREADS;
	return PyBool_FromLong(grown);
}

static PyObject *segment_dict(const struct log_segment *s)
{
	const struct segment_header *h = s->header;
	PyObject *end = s->has_end ? Py_BuildValue("(KKIO)", s->end.lost, s->end.undrained, s->end.uncaught,
						   s->end.is_last ? Py_True : Py_False)
				   : Py_NewRef(Py_None);

	return Py_BuildValue("{sysIsIsIsKsKsKsdsIsy#sy#sKsKsNszsKsK}", "path", s->path, "run", s->run, "machine",
			     h->machine, "number", h->number, "ticks0", h->ticks0, "mono0", h->mono0, "real0", h->real0,
			     "ns_per_tick", s->ns_per_tick, "table", h->table, "boot_id", h->boot_id,
			     (Py_ssize_t)strnlen(h->boot_id, sizeof h->boot_id), "host", h->host,
			     (Py_ssize_t)strnlen(h->host, sizeof h->host), "rows", s->rows, "blocks",
			     (unsigned long long)s->count, "end", end, "problem", s->problem, "problem_at", s->problem_at,
			     "size", s->size);
}

static PyObject *py_log_segments(PyObject *self, PyObject *none)
{
	struct logfile *l = ((struct py_log *)self)->l;
	struct log_segment *copies;
	PyObject *list = NULL;
	size_t count;

	(void)none;
	logfile_lock(l);
	count = logfile_segments(l);
	copies = malloc((count + 1) * sizeof *copies);
	for (size_t i = 0; copies && i < count; i++)
		copies[i] = *logfile_segment(l, i);
	logfile_unlock(l);
	if (!copies)
		return PyErr_NoMemory();
	list = PyList_New(0);
	for (size_t i = 0; list && i < count; i++) {
		PyObject *one = segment_dict(&copies[i]);

		if (!one || PyList_Append(list, one))
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	free(copies);
	return list;
}

static PyObject *py_log_pids(PyObject *self, PyObject *none)
{
	struct logfile *l = ((struct py_log *)self)->l;
	uint32_t *pids;
	size_t count;
	PyObject *set = NULL;
	int e;

	(void)none;
	logfile_lock(l);
	e = logfile_pids(l, &pids, &count);
	logfile_unlock(l);
	if (e)
		return PyErr_NoMemory();
	set = PySet_New(NULL);
	for (size_t i = 0; set && i < count; i++) {
		PyObject *pid = PyLong_FromUnsignedLong(pids[i]);

		if (!pid || PySet_Add(set, pid))
			Py_CLEAR(set);
		Py_XDECREF(pid);
	}
	free(pids);
	return set;
}

static PyObject *py_log_length(PyObject *self, PyObject *none)
{
	struct logfile *l = ((struct py_log *)self)->l;

	uint64_t rows;

	(void)none;
	logfile_lock(l);
	rows = logfile_rows(l) - logfile_drops(l);
	logfile_unlock(l);
	return PyLong_FromUnsignedLongLong(rows);
}

static PyObject *py_log_verify(PyObject *self, PyObject *args)
{
	struct logfile *l = ((struct py_log *)self)->l;
	struct log_gap *gaps;
	PyObject *list = NULL;
	size_t count;
	int e, deep;

	if (!PyArg_ParseTuple(args, "p", &deep))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	logfile_lock(l);
	e = logfile_verify(l, deep, &gaps, &count);
	logfile_unlock(l);
	Py_END_ALLOW_THREADS;
	if (e)
		return PyErr_NoMemory();
	list = PyList_New(0);
	for (size_t i = 0; list && i < count; i++) {
		const struct log_gap *g = &gaps[i];
		PyObject *one = Py_BuildValue("(IIIKKKO)", g->run, g->pid, g->tid, g->thread, g->from, g->to,
					      g->twice ? Py_True : Py_False);

		if (!one || PyList_Append(list, one))
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	free(gaps);
	return list;
}

/* ---- what descriptors stood for --------------------------------------------------------------------------------- */

static PyObject *py_log_file(PyObject *self, PyObject *args)
{
	struct logfile *l = ((struct py_log *)self)->l;
	struct text path = {0};
	const struct resolver *r = NULL;
	const uint8_t *text = NULL;
	unsigned run, pid;
	unsigned long long at;
	const char *name = NULL;
	Py_ssize_t name_len = 0;
	size_t len = 0;
	int fd;
	PyObject *result = NULL;

	if (!PyArg_ParseTuple(args, "IIiK|y#", &run, &pid, &fd, &at, &name, &name_len))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	logfile_lock(l);
	if (run < logfile_runs(l))
		r = logfile_resolver(l, run);
	if (r && name) {
		resolver_path(r, pid, fd, at, (struct blob){(const uint8_t *)name, (uint32_t)name_len}, &path);
		text = path.at;
		len = path.used;
	} else if (r) {
		text = resolver_text(r, pid, fd, at, &len);
		if (text) { /* nobody else may change the resolver while it is copied */
			text_add(&path, text, len);
			text = path.at;
		}
	}
	logfile_unlock(l);
	Py_END_ALLOW_THREADS;
	if (path.failed || (!r && run < logfile_runs(l)))
		PyErr_NoMemory();
	else
		result = text ? PyBytes_FromStringAndSize((const char *)text, (Py_ssize_t)len) : Py_NewRef(Py_None);
	free(path.at);
	return result;
}

/* ---- Arrow ------------------------------------------------------------------------------------------------------ */

static void stream_capsule_free(PyObject *capsule)
{
	struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");

	if (stream && stream->release)
		stream->release(stream);
	free(stream);
}

static PyObject *py_log_stream(PyObject *self, PyObject *args)
{
	struct ArrowArrayStream *stream;
	unsigned long long wanted;
	PyObject *capsule;
	int only;

	if (!PyArg_ParseTuple(args, "Kp", &wanted, &only))
		return NULL;
	stream = calloc(1, sizeof *stream);
	if (!stream || arrow_stream(((struct py_log *)self)->l, wanted, only, stream)) {
		free(stream);
		return PyErr_NoMemory();
	}
	capsule = PyCapsule_New(stream, "arrow_array_stream", stream_capsule_free);
	if (!capsule) {
		stream->release(stream);
		free(stream);
	}
	return capsule;
}

/* ---- the module ------------------------------------------------------------------------------------------------- */

static PyMethodDef log_methods[] = {
	{"add", py_log_add, METH_VARARGS, "add(path) -> None, or what is wrong with the file"},
	{"refresh", py_log_refresh, METH_NOARGS, "refresh() -> bool"},
	{"segments", py_log_segments, METH_NOARGS, "segments() -> list of dicts"},
	{"pids", py_log_pids, METH_NOARGS, "pids() -> set"},
	{"length", py_log_length, METH_NOARGS, "length() -> int"},
	{"verify", py_log_verify, METH_VARARGS, "verify(deep) -> list of gaps"},
	{"file", py_log_file, METH_VARARGS, "file(run, pid, fd, ticks[, path]) -> bytes or None"},
	{"records", py_log_records, METH_VARARGS, "records(calls, others, events, ids, after) -> iterator"},
	{"stream", py_log_stream, METH_VARARGS, "stream(wanted, only) -> capsule"},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot log_slots[] = {
	{Py_tp_new, py_log_new},
	{Py_tp_dealloc, py_log_free},
	{Py_tp_methods, log_methods},
	{0, NULL},
};

static PyType_Slot records_slots[] = {
	{Py_tp_dealloc, py_records_free},
	{Py_tp_iter, PyObject_SelfIter},
	{Py_tp_iternext, py_records_next},
	{0, NULL},
};

static PyType_Spec log_spec = {"lsca._log.Log", sizeof(struct py_log), 0, Py_TPFLAGS_DEFAULT, log_slots};
static PyType_Spec records_spec = {"lsca._log.Records", sizeof(struct py_records), 0,
				   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, records_slots};

static PyObject *column_names(void)
{
	PyObject *names = PyTuple_New(CALLS_COLUMNS);

	for (int i = 0; names && arrow_column(i); i++)
		if (PyTuple_SetItem(names, i, PyUnicode_FromString(arrow_column(i))))
			Py_CLEAR(names);
	return names;
}

static int module_exec(PyObject *module)
{
	PyObject *log = PyType_FromModuleAndSpec(module, &log_spec, NULL), *names = column_names();
	int e = -1;

	if (!records_type)
		records_type = PyType_FromModuleAndSpec(module, &records_spec, NULL);
	if (log && names && records_type)
		e = PyModule_AddObjectRef(module, "Log", log) || PyModule_AddObjectRef(module, "COLUMNS", names) ? -1 : 0;
	Py_XDECREF(log);
	Py_XDECREF(names);
	return e;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT, .m_name = "lsca._log", .m_doc = "The reader of logs. See _log.pyi.", .m_size = 0,
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__log(void)
{
	return PyModuleDef_Init(&module);
}
