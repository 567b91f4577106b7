/* SPDX-License-Identifier: Apache-2.0 */
/* `_native.start`: arguments and result of start.c. Called by src/lsca/joining.py in the place of fork_exec. */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"
#include "start.h"

/*
 * The session that programs have been joining, mapped for the next one: to let go of it after each, while its child may
 * run on another CPU, costs as much as a tenth of a start. With Python's lock.
 */
static struct {
	struct session *session;
	pid_t pid; /* a child of a fork does not have it */
	dev_t device;
	ino_t inode;
	int users, is_over;
} kept;

static void let_go(void)
{
	if (kept.users)
		return;
	if (kept.session && kept.pid == getpid())
		session_unmap(kept.session);
	memset(&kept, 0, sizeof kept);
}

static struct session *take(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	if (kept.pid != getpid()) {
		kept.users = 0;
		let_go();
	}
	if (kept.session && (kept.is_over || st.st_dev != kept.device || st.st_ino != kept.inode)) {
		let_go();
		if (kept.session) { /* a thread is at it still */
			errno = EBUSY;
			return NULL;
		}
	}
	if (!kept.session) {
		kept.session = session_map(fd, 1);
		if (!kept.session)
			return NULL;
		session_private(kept.session);
		kept.pid = getpid();
		kept.device = st.st_dev;
		kept.inode = st.st_ino;
	}
	kept.users++;
	return kept.session;
}

PyObject *py_starts_over(PyObject *self, PyObject *none)
{
	(void)self;
	(void)none;
	if (kept.pid == getpid()) {
		kept.is_over = 1;
		let_go();
	}
	Py_RETURN_NONE;
}

/* Numbers of a tuple; NULL with an exception. */
static int *numbers(PyObject *from, int *count)
{
	Py_ssize_t n = PyTuple_Check(from) ? PyTuple_Size(from) : -1;
	int *to = n < 0 ? NULL : PyMem_Malloc(((size_t)n + 1) * sizeof *to);

	if (!to)
		return n < 0 ? (PyErr_SetString(PyExc_TypeError, "a tuple is wanted"), NULL) : (int *)PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < n; i++) {
		long one = PyLong_AsLong(PyTuple_GetItem(from, i));

		if (one < 0 || one > INT_MAX) {
			if (!PyErr_Occurred())
				PyErr_SetString(PyExc_ValueError, "a descriptor out of range");
			PyMem_Free(to);
			return NULL;
		}
		to[i] = (int)one;
	}
	*count = (int)n;
	return to;
}

PyObject *py_start(PyObject *self, PyObject *args)
{
	PyObject *argv, *paths, *keep, *directory, *env, *result = NULL;
	struct start s = {0};
	int *keeps = NULL, session_fd, pid = -1;

	(void)self;
	if (!PyArg_ParseTuple(args, "iOOpOOOiiiiiiiippii", &session_fd, &argv, &paths, &s.close_fds, &keep,
			      &directory, &env, &s.in[0], &s.in[1], &s.out[0], &s.out[1], &s.err[0], &s.err[1],
			      &s.errors[0], &s.errors[1], &s.restore_signals, &s.new_session, &s.group, &s.mask) ||
	    (directory != Py_None && PyBytes_AsStringAndSize(directory, (char **)&s.directory, NULL)))
		return NULL;
	s.argv = module_strings(argv);
	s.paths = s.argv ? module_strings(paths) : NULL;
	s.env = s.paths && env != Py_None ? module_strings(env) : NULL;
	if (s.paths && (s.env || env == Py_None))
		s.keep = keeps = numbers(keep, &s.keep_count);
	if (keeps) {
		s.path_count = (int)PyList_Size(paths);
		s.session = take(session_fd);
		if (!s.session)
			pid = -errno;
	}
	if (s.session) {
		Py_BEGIN_ALLOW_THREADS;
		pid = start_program(&s);
		Py_END_ALLOW_THREADS;
		kept.users--;
		if (kept.is_over)
			let_go();
	}
	if (keeps)
		result = pid < 0 ? request_error(pid) : PyLong_FromLong(pid);
	PyMem_Free(keeps);
	PyMem_Free(s.env);
	PyMem_Free(s.paths);
	PyMem_Free(s.argv);
	return result;
}
