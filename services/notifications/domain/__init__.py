"""The rules of notices, without IO."""
