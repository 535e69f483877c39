"""What an application looks like from outside: for whoever shows it, and changes nothing."""
