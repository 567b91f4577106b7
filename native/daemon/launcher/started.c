/* SPDX-License-Identifier: Apache-2.0 */
/* `_native.start`: arguments and result of start.c. Called by src/lsca/joining.py in the place of fork_exec. */
#include "binding.h"

#include <limits.h>

#include "start.h"

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
	int *kept = NULL, pid;

	(void)self;
	if (!PyArg_ParseTuple(args, "iOOpOOOiiiiiiiippii", &s.session_fd, &argv, &paths, &s.close_fds, &keep,
			      &directory, &env, &s.in[0], &s.in[1], &s.out[0], &s.out[1], &s.err[0], &s.err[1],
			      &s.errors[0], &s.errors[1], &s.restore_signals, &s.new_session, &s.group, &s.mask) ||
	    (directory != Py_None && PyBytes_AsStringAndSize(directory, (char **)&s.directory, NULL)))
		return NULL;
	s.argv = module_strings(argv);
	s.paths = s.argv ? module_strings(paths) : NULL;
	s.env = s.paths && env != Py_None ? module_strings(env) : NULL;
	if (s.paths && (s.env || env == Py_None))
		s.keep = kept = numbers(keep, &s.keep_count);
	if (kept) {
		s.path_count = (int)PyList_Size(paths);
		Py_BEGIN_ALLOW_THREADS;
		pid = start_program(&s);
		Py_END_ALLOW_THREADS;
		result = pid < 0 ? request_error(pid) : PyLong_FromLong(pid);
	}
	PyMem_Free(kept);
	PyMem_Free(s.env);
	PyMem_Free(s.paths);
	PyMem_Free(s.argv);
	return result;
}
