"""Who somebody is: accounts, sessions, tokens, second factors. Speaks as Supabase's auth server does."""
