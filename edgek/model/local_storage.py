"""The names by which server and nodes share the work on volumes of the class ``local-path``.

The controller makes a PersistentVolume for a claim, labelled with its node and held by a finalizer. The directory is the node's: made when the first
pod needs it, deleted when the volume is being deleted and nothing else holds it, whereupon the node takes its finalizer off.
"""

PROVISIONER = "edgek.io/local-path"
FINALIZER = "edgek.io/local-path"
NODE_LABEL = "edgek.io/node"  # of a PersistentVolume: whose directory it is
IN_USE_FINALIZER = "kubernetes.io/pv-protection"  # upstream's: bound volumes have it
