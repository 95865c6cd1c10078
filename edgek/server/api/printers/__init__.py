"""How objects look in the rows of a Table, a module per family of kinds.

A printer is a function ``(object, now) -> cells``, one cell per column of the packed ``columns``, in their order. Printers are pure and never fail on
an object that passed validation. Their texts are those of kubectl users' scripts: they follow k8s.io/kubernetes/pkg/printers.
"""
