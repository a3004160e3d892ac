# What ran was on the other machine; this is for the journal.
:
