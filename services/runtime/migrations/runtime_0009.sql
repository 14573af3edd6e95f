-- Whose plan an act carries out: the same plan is done once, however often it is asked for.
ALTER TABLE operator_act ADD COLUMN plan text UNIQUE, ADD COLUMN actor text, ADD COLUMN approved_by text;
