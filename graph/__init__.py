"""The API: translates GraphQL to one domain call and back."""
