"""torch.export's archives (.pt2) as graphs, without torch and without pickle."""
