"""Starting procedures: what each verb asks for, and how every one of them is started, joined and followed."""
