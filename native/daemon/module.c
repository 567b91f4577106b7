/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca._native: what Python may ask of the launcher. Converts arguments and results and nothing else, as request.c and
 * served.c do for handlers, started.c for programs. Types and meanings are described in src/lsca/_native.pyi.
 */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "recover.h"
#include "ring.h"
#include "serve.h"

static PyObject *failed(int e)
{
	errno = -e;
	return PyErr_SetFromErrno(PyExc_OSError);
}

/* A sequence of descriptors into a set of bits. */
static int descriptors(PyObject *from, uint64_t *set)
{
	Py_ssize_t n = from ? PySequence_Size(from) : 0;

	for (Py_ssize_t i = 0; i < n; i++) {
		PyObject *one = PySequence_GetItem(from, i);
		long fd = one ? PyLong_AsLong(one) : -1;

		Py_XDECREF(one);
		if (fd < 0 || fd >= KEEP_FDS) {
			if (!PyErr_Occurred())
				PyErr_SetString(PyExc_ValueError, "a descriptor out of range");
			return -1;
		}
		set[fd / 64] |= 1ull << fd % 64;
	}
	return n < 0 ? -1 : 0;
}

/* (session, area); area -1: no log */
static PyObject *py_session_create(PyObject *self, PyObject *args, PyObject *named)
{
	static char *names[] = {"is_proxy", "log_path", "preloaded", "keep", "keep_read", "keep_write", "sync", "lossy",
				"rotate_size", "rotate_age", "flight", "handlers", "streams", NULL};
	unsigned long long size = 0, age = 0, flight = 0;
	unsigned preloaded = 0, streams = STREAMS_NONE;
	struct log_options log = {0};
	const char *path = NULL;
	PyObject *where, *reads = NULL, *writes = NULL;
	int is_proxy, fd, area = -1, is_named, lossy = 0, has_handlers = 0;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, named, "pO|I$IOOIpKKKpI", names, &is_proxy, &where, &preloaded,
					 &log.keep_bytes, &reads, &writes, &log.sync, &lossy, &size, &age, &flight,
					 &has_handlers, &streams) ||
	    (where != Py_None && !(path = PyBytes_AsString(where))) || descriptors(reads, log.keep_read) ||
	    descriptors(writes, log.keep_write))
		return NULL;
	log.lossy = (uint32_t)lossy;
	log.rotate_size = size;
	log.rotate_age = age;
	log.flight = flight;
	if (log.keep_bytes > KEEP_MOST)
		log.keep_bytes = KEEP_MOST;
	if (path)
		area = area_create(path, &log, &is_named);
	if (path && area < 0)
		return failed(area);
	fd = session_create(is_proxy, path ? &log : NULL, preloaded, has_handlers, streams);
	if (fd < 0) {
		if (area >= 0) {
			area_remove(area);
			close(area);
		}
		return failed(fd);
	}
	return Py_BuildValue("(ii)", fd, area);
}

static PyObject *py_area_remove(PyObject *self, PyObject *args)
{
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "i", &fd))
		return NULL;
	area_remove(fd);
	Py_RETURN_NONE;
}

static PyObject *py_area_list(PyObject *self, PyObject *none)
{
	PyObject *list = PyList_New(0);
	DIR *dir = opendir(area_directory);
	char name[AREA_NAME];

	(void)self;
	(void)none;
	while (list && dir && area_next(dir, name)) {
		PyObject *one = PyUnicode_DecodeFSDefault(name);

		if (!one || PyList_Append(list, one))
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	if (dir)
		closedir(dir);
	return list;
}

static PyObject *py_area_about(PyObject *self, PyObject *args)
{
	struct area_head *h;
	const char *name, *wrong;
	PyObject *result = NULL;
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "s", &name))
		return NULL;
	fd = recover_open(name);
	if (fd < 0)
		return failed(fd);
	h = PyMem_Malloc(sizeof *h);
	wrong = h ? area_read(fd, h) : "no memory";
	if (wrong)
		PyErr_SetString(PyExc_ValueError, wrong);
	else
		result = Py_BuildValue("{sIsIsNsK}", "launcher", h->launcher, "program", h->program, "output",
				       PyUnicode_DecodeFSDefault(h->output), "flight",
				       (unsigned long long)h->options.flight);
	PyMem_Free(h);
	close(fd);
	return result;
}

static PyObject *py_area_recover(PyObject *self, PyObject *args)
{
	static const char *const states[] = {"done", "alive", "owned", "failed"};
	struct recovered *r;
	const char *name, *output = NULL;
	PyObject *result, *where = Py_None;

	(void)self;
	if (!PyArg_ParseTuple(args, "s|O", &name, &where) ||
	    (where != Py_None && !(output = PyBytes_AsString(where))))
		return NULL;
	r = PyMem_Malloc(sizeof *r);
	if (!r)
		return PyErr_NoMemory();
	Py_BEGIN_ALLOW_THREADS;
	recover_area(name, output, r);
	Py_END_ALLOW_THREADS;
	result = Py_BuildValue("(sKNN)", states[r->state], (unsigned long long)r->rows,
			       PyUnicode_DecodeFSDefault(r->output), PyUnicode_DecodeFSDefault(r->text));
	PyMem_Free(r);
	return result;
}

static PyObject *py_area_dump(PyObject *self, PyObject *args)
{
	const char *name;
	uint64_t rows = 0;
	int fd, e;

	(void)self;
	if (!PyArg_ParseTuple(args, "si", &name, &fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	e = recover_dump(name, fd, &rows);
	Py_END_ALLOW_THREADS;
	return e ? failed(e) : PyLong_FromUnsignedLongLong(rows);
}

static PyObject *py_rules_set(PyObject *self, PyObject *args)
{
	const char *rules, *wrong;
	Py_ssize_t size;
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "iy#", &fd, &rules, &size))
		return NULL;
	wrong = serve_rules(fd, rules, (uint64_t)size);
	if (wrong) {
		PyErr_Format(PyExc_ValueError, "these rules cannot be used: %s", wrong);
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *py_session_keep(PyObject *self, PyObject *args)
{
	int session, area, log;
	const char *path;
	pid_t pid;

	(void)self;
	if (!PyArg_ParseTuple(args, "iiiy", &session, &area, &log, &path))
		return NULL;
	pid = keep_start(session, area, log, path, 0);
	if (pid < 0)
		return failed(pid);
	return PyLong_FromLong(pid);
}

static PyObject *py_session_has(PyObject *self, PyObject *args)
{
	unsigned pid;
	int session;

	(void)self;
	if (!PyArg_ParseTuple(args, "iI", &session, &pid))
		return NULL;
	return PyBool_FromLong(session_has(session, pid));
}

static PyObject *process_dict(const struct process *shared)
{
	struct process p = *shared;

	return Py_BuildValue("{sIsIsIs(KKKK)sO}", "pid", p.pid, "proxy", p.proxy, "parent", p.parent, "calls",
			     (unsigned long long)p.calls[ROUTE_KERNEL], (unsigned long long)p.calls[ROUTE_PROXY],
			     (unsigned long long)p.calls[ROUTE_LOCAL], (unsigned long long)p.calls[ROUTE_HANDLER],
			     "alive", process_alive(p.pid) ? Py_True : Py_False);
}

static PyObject *process_list(const struct session *s)
{
	PyObject *list = PyList_New(0);

	for (uint32_t i = 0; list && i < PROCESSES && !session_unused(&s->processes[i]); i++) {
		PyObject *one;
		int e;

		if (get_acquire(&s->processes[i].state) != PROCESS_LIVE)
			continue;
		one = process_dict(&s->processes[i]);
		e = one ? PyList_Append(list, one) : -1;
		Py_XDECREF(one);
		if (e)
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *py_session_snapshot(PyObject *self, PyObject *args)
{
	struct session *s;
	PyObject *result;
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "i", &fd))
		return NULL;
	s = session_map(fd, 0);
	if (!s)
		return PyErr_SetFromErrno(PyExc_OSError);
	result = Py_BuildValue("{sIsOsOsIsKsKsKsKs(KKKK)sN}", "launcher", s->launcher, "proxy",
			       s->flags & SESSION_PROXY ? Py_True : Py_False, "log",
			       s->flags & SESSION_LOG ? Py_True : Py_False, "uncaught", s->uncaught, "lost",
			       (unsigned long long)s->lost, "streams_joined", (unsigned long long)s->streams_joined,
			       "streams_back", (unsigned long long)s->streams_back, "stream_bytes",
			       (unsigned long long)s->stream_bytes, "waits", (unsigned long long)s->waits.spun,
			       (unsigned long long)s->waits.yielded, (unsigned long long)s->waits.slept,
			       (unsigned long long)s->waits.woke, "processes", process_list(s));
	session_unmap(s);
	return result;
}

char **module_strings(PyObject *list)
{
	Py_ssize_t n = PyList_Check(list) ? PyList_Size(list) : -1;
	char **to;

	if (n < 0) {
		PyErr_SetString(PyExc_TypeError, "a list of bytes is wanted");
		return NULL;
	}
	to = PyMem_Malloc(((size_t)n + 1) * sizeof *to);
	if (!to)
		return (char **)PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < n; i++) {
		if (PyBytes_AsStringAndSize(PyList_GetItem(list, i), &to[i], NULL)) {
			PyMem_Free(to);
			return NULL;
		}
	}
	to[n] = NULL;
	return to;
}

static PyObject *py_run(PyObject *self, PyObject *args, PyObject *named)
{
	static char *names[] = {"session", "argv", "env", "agent", "proxy", "log", "area", "log_path", "is_proxy",
				"hide_vdso", "drop", "strict", "unpatched",
				"serve", "threads", "on_error", "post", "post_tells", NULL};
	PyObject *argv, *env, *result = NULL, *serve = Py_None, *on_error = Py_None;
	struct served *served = NULL;
	unsigned threads = 64;
	int error = 0;
	struct plan plan = {.log_fd = -1, .area_fd = -1, .log_path = "", .host_fd = -1, .post_fd = -1};
	struct outcome out;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, named, "iOOyy|$iiypppppOIOip", names, &plan.session_fd, &argv, &env,
					 &plan.agent, &plan.proxy, &plan.log_fd, &plan.area_fd, &plan.log_path,
					 &plan.is_proxy, &plan.hide_vdso, &plan.drop, &plan.strict, &plan.unpatched,
					 &serve, &threads, &on_error, &plan.post_fd, &plan.post_tells))
		return NULL;
	plan.argv = module_strings(argv);
	plan.env = plan.argv ? module_strings(env) : NULL;
	if (plan.env && !plan.argv[0])
		PyErr_SetString(PyExc_ValueError, "no program is named");
	else if (plan.env &&
		 (serve == Py_None || (served = served_for_run(&plan, serve, on_error, threads)))) {
		Py_BEGIN_ALLOW_THREADS;
		front_run(&plan, &out);
		Py_END_ALLOW_THREADS;
		if (served)
			error = served_end_run(served);
		result = error ? request_error(-error) : Py_BuildValue("(iiN)", out.code, out.signal,
									 PyUnicode_DecodeFSDefault(out.text));
	}
	PyMem_Free(plan.argv);
	PyMem_Free(plan.env);
	return result;
}

/* The interpreter's lock stays: there is no other thread. */
static PyObject *py_session_enter(PyObject *self, PyObject *args)
{
	const char *agent;
	int fd, area;

	(void)self;
	if (!PyArg_ParseTuple(args, "iiy", &fd, &area, &agent))
		return NULL;
	return PyBool_FromLong(!enter_session(agent, fd, area));
}

static PyObject *py_probe(PyObject *self, PyObject *none)
{
	PyObject *result = PyDict_New();

	(void)self;
	(void)none;
	for (const struct probe *p = probes; result && p->name; p++) {
		PyObject *value = PyLong_FromLong(p->run());

		if (!value || PyDict_SetItemString(result, p->name, value))
			Py_CLEAR(result);
		Py_XDECREF(value);
	}
	return result;
}

static PyMethodDef methods[] = {
	{"session_create", (PyCFunction)(void (*)(void))py_session_create, METH_VARARGS | METH_KEYWORDS,
	 "session_create(is_proxy, log_path, preloaded=0, ...) -> (session, area)"},
	{"area_list", py_area_list, METH_NOARGS, "area_list() -> [name]"},
	{"area_remove", py_area_remove, METH_VARARGS, "area_remove(descriptor)"},
	{"area_about", py_area_about, METH_VARARGS, "area_about(name) -> dict"},
	{"area_recover", py_area_recover, METH_VARARGS,
	 "area_recover(name, output=None) -> (state, rows, output, text)"},
	{"area_dump", py_area_dump, METH_VARARGS, "area_dump(name, descriptor) -> rows"},
	{"rules_set", py_rules_set, METH_VARARGS, "rules_set(descriptor, rules)"},
	{"serve", (PyCFunction)(void (*)(void))py_serve, METH_VARARGS | METH_KEYWORDS,
	 "serve(descriptor, callback, *, threads=64, on_error=None) -> Server"},
	{"session_enter", py_session_enter, METH_VARARGS, "session_enter(descriptor, area, agent) -> bool"},
	{"session_has", py_session_has, METH_VARARGS, "session_has(descriptor, process id) -> bool"},
	{"session_keep", py_session_keep, METH_VARARGS, "session_keep(descriptor, area, log, log_path) -> process id"},
	{"session_snapshot", py_session_snapshot, METH_VARARGS, "session_snapshot(descriptor) -> dict"},
	{"run", (PyCFunction)(void (*)(void))py_run, METH_VARARGS | METH_KEYWORDS,
	 "run(session, argv, env, agent, proxy, ...) -> (code, signal, text)"},
	{"starts_over", py_starts_over, METH_NOARGS, "starts_over(): no program joins the last session any more"},
	{"start", py_start, METH_VARARGS, "start(session, argv, paths, ...) -> process id"},
	{"probe", py_probe, METH_NOARGS, "probe() -> {name: errno or 0}"},
	{NULL, NULL, 0, NULL},
};

static int add_numbers(PyObject *to)
{
	return PyModule_AddIntMacro(to, KEEP_MOST) || PyModule_AddIntMacro(to, KEEP_FDS) ||
	       PyModule_AddIntMacro(to, ABI_VERSION) ||
	       PyModule_AddStringConstant(to, "AREA_DIRECTORY", area_directory) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, add_numbers},
	{Py_mod_exec, request_types},
	{Py_mod_exec, served_types},
	{Py_mod_exec, posted_functions},
	{0, NULL},
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT, .m_name = "lsca._native", .m_doc = "The launcher. See _native.pyi.", .m_size = 0,
	.m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&module);
}
