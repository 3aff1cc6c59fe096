"""Every refusal of every mutation, driven through the API."""
