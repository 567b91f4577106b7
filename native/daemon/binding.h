/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python's side of the extension: what module.c, request.c, served.c, started.c and posted.c share. The only file
 * that includes Python.h.
 */
#ifndef LSCA_BINDING_H
#define LSCA_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct plan;
struct question;
struct served; /* a server, and the functions that it calls */

/* module.c: pointers into the list's own bytes objects; the caller holds the list. NULL with an exception. */
char **module_strings(PyObject *list);

/* started.c */
PyObject *py_start(PyObject *self, PyObject *args);
PyObject *py_starts_over(PyObject *self, PyObject *none);

/* request.c */
int request_types(PyObject *module); /* -1 with an exception */
PyObject *request_error(int64_t negative); /* raises OSError */
PyObject *request_new(struct question *q);
void request_over(PyObject *self); /* the question has been answered */
PyTypeObject *request_type_made(PyObject *module, const char *name, int size, destructor dealloc, PyMethodDef *methods,
				PyGetSetDef *members);

/* posted.c */
int posted_functions(PyObject *module);

/* served.c */
int served_types(PyObject *module);
PyObject *py_serve(PyObject *self, PyObject *args, PyObject *named);
/* For the length of a run: starts once the launcher is there. NULL with an exception. */
struct served *served_for_run(struct plan *plan, PyObject *callback, PyObject *on_error, unsigned threads);
int served_end_run(struct served *s); /* 0, or the errno of a start that failed */

#endif
