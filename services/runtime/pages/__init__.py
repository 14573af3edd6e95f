"""What any service's web pages need: languages, the base template, the style sheet, the headers, tables."""
