# Changes nothing: the journal's entry says from now on that this host is being taken apart.
:
