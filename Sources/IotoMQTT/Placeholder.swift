import IotoBase
