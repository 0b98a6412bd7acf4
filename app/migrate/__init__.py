"""The move off Supabase: planned, copied, verified."""
