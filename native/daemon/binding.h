/* SPDX-License-Identifier: Apache-2.0 */
/* Python's side of the extension: what module.c and request.c share. The only file that includes Python.h. */
#ifndef LSCA_BINDING_H
#define LSCA_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct plan;
struct served; /* a server, and the functions that it calls */

int request_types(PyObject *module); /* adds Request and Server; -1 with an exception */
PyObject *request_error(int64_t negative); /* raises OSError */
PyObject *py_serve(PyObject *self, PyObject *args, PyObject *named);
/* For the length of a run: starts once the launcher is there. NULL with an exception. */
struct served *request_serve_run(struct plan *plan, PyObject *callback, PyObject *on_error, unsigned threads);
int request_end_run(struct served *s); /* 0, or the errno of a start that failed */

#endif
