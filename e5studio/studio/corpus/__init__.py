"""The Corpus tab: thousands of texts, embedded, searched, mapped and measured."""
