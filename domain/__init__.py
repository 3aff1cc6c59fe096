"""What is true and what is allowed. Knows nothing of GraphQL, HTTP, Redis, SMTP or carriers."""
