"""Third-party license servers: their bytes pass unread, and which of them is used is decided here."""
