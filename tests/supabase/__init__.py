"""A database that is shaped like a real project of Supabase: what the platform makes, a hundred tables, every trap."""
